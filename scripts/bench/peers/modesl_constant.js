// modesl's server with a handler that is one bridge; argv[2] is the port.
const esl = require('modesl');

const server = new esl.Server({ host: '127.0.0.1', port: Number(process.argv[2]), myevents: false });
server.on('connection::open', (connection) => connection.on('error', () => {}));  // a reset must not end the server
server.on('connection::ready', (connection) => {
  connection.execute('bridge', 'sofia/gateway/carrier/+491713920042');
});
