/* Load for an outbound Event Socket server: plays FreeSWITCH's side of many calls.
 *
 *   load --port P --snapshot FILE --numbers FILE (--closed N | --open R | --hold N) [--seconds S] [--calls C] [--callers N]
 *
 *   --closed N   N calls at a time: when one ends the next begins. For S seconds, or C calls if that comes first.
 *   --open R     R calls a second on average, whatever the server does (Poisson, always the same sequence).
 *   --hold N     N calls as far as the bridge, then "held N" on standard output; they are hung up when standard input
 *                ends, or after S seconds.
 *   --numbers    the dialled numbers in E.164, one a line; after the last the first again.
 *   --snapshot   the channel as `connect` gets it, with @NUMBER@ (encoded), @CALLER@ (without its plus sign), @UUID@ and
 *                @VARIABLES@ in it (channel.py writes it).
 *   --callers    how many callers there are, 1 to 10,000,000 (default 1).
 *
 * One call: connect; the server says `connect` and gets the snapshot; `set` and `multiset` set channel variables, with
 * ${sofia_contact(PROFILE/USER@DOMAIN)} expanded to one registered phone, and every later snapshot has them; each command
 * gets a reply in a write of its own, as mod_event_socket does it. When the bridge has arrived the call counts; it is
 * answered and over at once: the reply, a disconnect-notice, close.
 *
 * Times run from the moment at which the call was to begin: a server that makes others wait (open loop) is not excused.
 * The result is one line of JSON; "asked" in it is how often registered phones were asked for.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define TIMEOUT_S 10.0
#define INPUT (32 * 1024)    /* the longest command: a bridge of many legs */
#define VARIABLES (16 * 1024)
#define SNAPSHOT (64 * 1024)
#define ADDRESSES 64         /* connections come from so many: few, as in service, but with ports for all in TIME_WAIT */
#define CALLERS_PER_S 20000  /* a run that begins a second later begins so many callers later: nobody calls again soon */
#define OPENING 64           /* --hold: calls that are on the way to their bridge at a time */
#define REPLY "Content-Type: command/reply\nReply-Text: +OK\n\n"
#define FAREWELL "Disconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n"

enum error { REFUSED, CLOSED, TIMED_OUT, NO_BRIDGE, TOO_LONG, DROPPED, ERRORS };
static const char *const ERROR_NAMES[ERRORS] = { "refused", "closed", "timeout", "no_bridge", "too_long", "dropped" };
/* refused: no connection. closed: by the server, before the bridge. no_bridge: ended in another way. too_long: a command
 * or its variables. dropped: closed by the server while it was held. */

enum state { CONNECTING, TALKING, HELD };
struct call {
    int fd;
    enum state state;
    double planned;
    const char *number;
    char caller[32], uuid[37];
    int input_length, variables_length;
    int body, body_missing; /* where a command's body begins in input, and how much of it is still to come */
    struct call *next, *previous;
    char *input;      /* what is not yet a whole command; freed when the call is held */
    char *variables;  /* encoded lines of the snapshot, set by the server */
};

static struct { double closed, open, hold, seconds; long calls, callers; int port; } options = { .seconds = 3, .calls = -1, .callers = 1 };
static char *snapshot, **numbers;
static long number_count;
static struct call *live;              /* newest first */
static long started, active, held, asked, first_caller, errors[ERRORS];
static double *latencies, *lateness;   /* seconds */
static long latency_count, latency_room, lateness_count, lateness_room;
static double first_start, last_bridge;
static int events;

static void fail(const char *what) { fprintf(stderr, "load: %s: %s\n", what, strerror(errno)); exit(2); }
static void refuse(const char *why) { fprintf(stderr, "load: %s\n", why); exit(2); }

static void *need(void *memory) { if (!memory) fail("memory"); return memory; }

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void keep(double **values, long *count, long *room, double value)
{
    if (*count == *room) {
        *room = *room ? *room * 2 : 1024;
        *values = need(realloc(*values, *room * sizeof **values));
    }
    (*values)[(*count)++] = value;
}

/* --- one call ---------------------------------------------------------------------------------------------- */

static void end(struct call *call)
{
    close(call->fd);
    if (call->previous) call->previous->next = call->next; else live = call->next;
    if (call->next) call->next->previous = call->previous;
    if (call->state == HELD) held--;
    active--;
    free(call->input);
    free(call->variables);
    free(call);
}

static void fail_call(struct call *call, enum error error) { errors[error]++; end(call); }

static void begin(double planned)
{
    static const int on = 1;
    struct call *call = need(calloc(1, sizeof *call));
    struct sockaddr_in from = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f020001u + (uint32_t)(started % ADDRESSES)) };
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)options.port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    call->input = need(malloc(INPUT));
    call->variables = need(malloc(VARIABLES));
    call->planned = planned;
    call->number = numbers[started % number_count];
    snprintf(call->caller, sizeof call->caller, "49302%07ld", (first_caller + started) % options.callers);
    snprintf(call->uuid, sizeof call->uuid, "%08lx-f5a1-4bc0-8000-%012lx", started & 0xffffffff, started);
    if (!started++) first_start = planned;
    active++;
    call->next = live;
    if (live) live->previous = call;
    live = call;
    call->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (call->fd < 0) fail("socket");
    setsockopt(call->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(call->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(call->fd, (struct sockaddr *)&from, sizeof from)) fail("bind");
    if (connect(call->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS) { fail_call(call, REFUSED); return; }
    struct epoll_event wanted = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = call };
    if (epoll_ctl(events, EPOLL_CTL_ADD, call->fd, &wanted)) fail("epoll");
}

/* Whether all of it went out. A reply fits the socket's buffer, so a short write means that nobody is there. */
static bool say(struct call *call, const char *text, size_t length)
{
    return send(call->fd, text, length, MSG_NOSIGNAL) == (ssize_t)length;
}

static bool say_snapshot(struct call *call)
{
    static char text[SNAPSHOT];
    char *out = text, *limit = text + sizeof text - VARIABLES - 256;
    for (const char *in = snapshot; *in && out < limit;) {
        const char *mark = strchrnul(in, '@');  /* no other @ is in it: values are encoded */
        size_t plain = mark - in < limit - out ? mark - in : limit - out;
        memcpy(out, in, plain);
        out += plain;
        in += plain;
        if (!strncmp(in, "@NUMBER@", 8)) { out += sprintf(out, "%%2B%s", call->number + 1); in += 8; }
        else if (!strncmp(in, "@CALLER@", 8)) { out = stpcpy(out, call->caller); in += 8; }
        else if (!strncmp(in, "@UUID@", 6)) { out = stpcpy(out, call->uuid); in += 6; }
        else if (!strncmp(in, "@VARIABLES@\n", 12)) {
            memcpy(out, call->variables, call->variables_length);
            out += call->variables_length;
            in += 12;
        } else if (*in) *out++ = *in++;
    }
    return say(call, text, out - text);
}

static void say_goodbye(struct call *call)
{
    char text[512];
    int length = snprintf(text, sizeof text, "Content-Type: text/disconnect-notice\nControlled-Session-UUID: %s\n"
                          "Content-Disposition: disconnect\nContent-Length: %zu\n\n%s", call->uuid, sizeof FAREWELL - 1, FAREWELL);
    say(call, text, length);
}

/* --- channel variables ------------------------------------------------------------------------------------- */

/* As switch_url_encode does it. */
static char *encode(char *out, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char c = text[i];
        if (c <= ' ' || c >= 0x7f || strchr("\"#%&+:;<=>?@[\\]^`{|}", c)) out += sprintf(out, "%%%02X", c);
        else *out++ = c;
    }
    return out;
}

/* The value with ${sofia_contact(...)} expanded and encoded; NULL if it does not fit. */
static char *expand(char *out, const char *limit, const char *text, const char *text_end)
{
    static const char api[] = "${sofia_contact(";
    bool asks = false;
    while (text < text_end) {
        if (out + 512 > limit) return NULL;
        const char *close = strncmp(text, api, sizeof api - 1) ? NULL : memmem(text, text_end - text, ")}", 2);
        const char *slash = close ? memchr(text, '/', close - text) : NULL, *at = slash ? memchr(slash, '@', close - slash) : NULL;
        if (at && close - text < 300) {
            char contact[400];
            const char *profile = text + sizeof api - 1;
            int length = snprintf(contact, sizeof contact, "sofia/%.*s/sip:%.*s@192.0.2.1:5060", (int)(slash - profile), profile,
                                  (int)(at - slash - 1), slash + 1);
            if (out + 3 * length > limit) return NULL;
            out = encode(out, contact, length);
            text = close + 2;
            asks = true;
        } else out = encode(out, text++, 1);
    }
    asked += asks;
    return out;
}

/* Sets `name=value`; false if there is no room. */
static bool set_variable(struct call *call, const char *text, const char *text_end)
{
    char name[128];
    const char *equals = memchr(text, '=', text_end - text);
    if (!equals) return true;
    int length = snprintf(name, sizeof name, "variable_%.*s: ", (int)(equals - text), text);
    if (length >= (int)sizeof name) return false;
    char *lines = call->variables, *lines_end = lines + call->variables_length;
    for (char *line = lines; line < lines_end;) {
        char *next = (char *)memchr(line, '\n', lines_end - line) + 1;
        if (!strncmp(line, name, length)) { memmove(line, next, lines_end - next); lines_end -= next - line; break; }
        line = next;
    }
    if (lines_end + length + 1 > lines + VARIABLES) return false;
    memcpy(lines_end, name, length);
    char *out = expand(lines_end + length, lines + VARIABLES - 1, equals + 1, text_end);
    if (!out) return false;
    if (out == lines_end + length) out = stpcpy(out, "_undef_");
    *out++ = '\n';
    call->variables_length = out - lines;
    return true;
}

static bool set_variables(struct call *call, const char *text, const char *text_end)
{
    char separator = ' ';
    if (text_end - text > 3 && !strncmp(text, "^^", 2)) { separator = text[2]; text += 3; }
    while (text < text_end) {
        const char *next = memchr(text, separator, text_end - text);
        if (!set_variable(call, text, next ? next : text_end)) return false;
        text = next ? next + 1 : text_end;
    }
    return true;
}

/* --- commands ---------------------------------------------------------------------------------------------- */

/* The value of a header in a command; NULL if it is not there. */
static const char *header(const char *command, const char *name, const char **value_end)
{
    for (const char *line = strchr(command, '\n'); line; line = strchr(line + 1, '\n')) {
        size_t length = strlen(name);
        if (!strncasecmp(line + 1, name, length) && line[1 + length] == ':') {
            const char *value = line + 2 + length;
            while (*value == ' ') value++;
            *value_end = strchrnul(value, '\n');
            return value;
        }
    }
    return NULL;
}

static bool is(const char *value, const char *value_end, const char *text)
{
    return value && (size_t)(value_end - value) == strlen(text) && !strncmp(value, text, value_end - value);
}

/* Answers one command. False when the call is over and gone. */
static bool obey(struct call *call, double at)
{
    const char *command = call->input, *body = call->input + call->body;
    const char *what_end = NULL, *name_end = NULL, *argument_end = NULL;
    if (!strcmp(command, "connect")) {
        if (!say_snapshot(call)) { fail_call(call, CLOSED); return false; }
        return true;
    }
    if (!strncmp(command, "exit", 4)) { fail_call(call, NO_BRIDGE); return false; }
    const char *what = header(command, "call-command", &what_end), *name = header(command, "execute-app-name", &name_end);
    const char *argument = header(command, "execute-app-arg", &argument_end);
    if (!argument && *body) argument = body, argument_end = strchr(body, 0);
    if (is(what, what_end, "hangup")) {
        say(call, REPLY, sizeof REPLY - 1);
        say_goodbye(call);
        fail_call(call, NO_BRIDGE);
        return false;
    }
    if (is(name, name_end, "bridge")) {
        keep(&latencies, &latency_count, &latency_room, at - call->planned);
        last_bridge = at;
        if (options.hold) { call->state = HELD; held++; return true; }  /* no reply: it rings, and talks */
        say(call, REPLY, sizeof REPLY - 1);
        say_goodbye(call);
        end(call);
        return false;
    }
    bool fits = true;
    if (argument && is(name, name_end, "set")) fits = set_variable(call, argument, argument_end);
    if (argument && is(name, name_end, "multiset")) fits = set_variables(call, argument, argument_end);
    if (!fits) { fail_call(call, TOO_LONG); return false; }
    if (!say(call, REPLY, sizeof REPLY - 1)) { fail_call(call, CLOSED); return false; }
    return true;
}

static void read_commands(struct call *call)
{
    for (;;) {
        static char data[INPUT];
        ssize_t count = recv(call->fd, data, sizeof data, 0);
        double at = now();
        if (count < 0 && errno == EAGAIN) return;
        if (count <= 0) { fail_call(call, call->state == HELD ? DROPPED : CLOSED); return; }
        if (call->state == HELD) continue;  /* the `connect` behind the bridge waits, as in FreeSWITCH, for the bridge's end */
        for (ssize_t i = 0; i < count; i++) {
            if (!call->body_missing && (data[i] == '\r' || (!call->input_length && data[i] == '\n'))) continue;
            if (call->input_length == INPUT - 1) { fail_call(call, TOO_LONG); return; }
            call->input[call->input_length++] = data[i];
            if (call->body_missing) {
                if (--call->body_missing) continue;
            } else {
                if (call->input_length < 2 || memcmp(call->input + call->input_length - 2, "\n\n", 2)) continue;
                call->input[call->input_length - 2] = 0;
                const char *end, *length = header(call->input, "content-length", &end);
                call->body = call->input_length;
                if (length && (call->body_missing = atoi(length)) > 0) continue;
            }
            call->input[call->input_length] = 0;
            call->input_length = 0;
            if (!obey(call, at)) return;
            if (call->state == HELD) break;
        }
    }
}

static void on_event(struct call *call, uint32_t what)
{
    if (call->state == CONNECTING) {
        int error = 0;
        socklen_t length = sizeof error;
        getsockopt(call->fd, SOL_SOCKET, SO_ERROR, &error, &length);
        if (error) { fail_call(call, REFUSED); return; }
        if (what & EPOLLOUT) call->state = TALKING;
    }
    if (what & (EPOLLIN | EPOLLHUP | EPOLLERR)) read_commands(call);
}

static void give_up_old(double at)
{
    for (struct call *call = live, *next; call; call = next) {
        next = call->next;
        if (call->state != HELD && at - call->planned > TIMEOUT_S) fail_call(call, TIMED_OUT);
    }
}

/* --- the three ways to load -------------------------------------------------------------------------------- */

static void handle_events(int wait_ms)
{
    struct epoll_event ready[256];
    int count = epoll_wait(events, ready, 256, wait_ms);
    for (int i = 0; i < count; i++)
        if (ready[i].data.ptr) on_event(ready[i].data.ptr, ready[i].events);
    static double last_look;
    double at = now();
    if (at - last_look > 0.5) { last_look = at; give_up_old(at); }
}

static void finish(void) { while (active > held) handle_events(100); }

static void run_closed(void)
{
    double stop = now() + options.seconds;
    for (;;) {
        while (active < options.closed && now() < stop && (options.calls < 0 || started < options.calls)) begin(now());
        if (!active) return;
        handle_events(100);
    }
}

static void run_open(void)
{
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct epoll_event wanted = { .events = EPOLLIN | EPOLLET, .data.ptr = NULL };
    if (timer < 0 || epoll_ctl(events, EPOLL_CTL_ADD, timer, &wanted)) fail("timer");
    srand48(1);
    double planned = now(), stop = planned + options.seconds;
    while (planned < stop && (options.calls < 0 || started < options.calls)) {
        double at = now();
        if (planned <= at) {
            keep(&lateness, &lateness_count, &lateness_room, at - planned);
            begin(planned);
            planned += -log(1 - drand48()) / options.open;
            continue;
        }
        struct itimerspec due = { .it_value = { .tv_sec = (time_t)planned, .tv_nsec = (long)(fmod(planned, 1) * 1e9) } };
        timerfd_settime(timer, TFD_TIMER_ABSTIME, &due, NULL);
        handle_events(100);
    }
    finish();
    close(timer);
}

static void run_hold(void)
{
    double begun = now();
    while (started < options.hold || active > held) {
        while (started < options.hold && active - held < OPENING) begin(now());
        handle_events(100);
        if (!active) break;
    }
    printf("held %ld\n", held);
    fflush(stdout);
    struct epoll_event wanted = { .events = EPOLLIN, .data.ptr = NULL };
    bool watched = !epoll_ctl(events, EPOLL_CTL_ADD, STDIN_FILENO, &wanted);  /* a pipe; EOF makes it readable */
    for (double stop = begun + options.seconds; now() < stop && held;) {
        struct epoll_event ready[256];
        int count = epoll_wait(events, ready, 256, 200);
        bool over = false;
        for (int i = 0; i < count; i++)
            if (ready[i].data.ptr) on_event(ready[i].data.ptr, ready[i].events); else over = watched;
        if (over) break;
    }
    while (live) {
        if (live->state == HELD) { say(live, REPLY, sizeof REPLY - 1); say_goodbye(live); }
        end(live);
    }
}

/* --- input and output -------------------------------------------------------------------------------------- */

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) fail(path);
    char *text = NULL;
    size_t length = 0, room = 0, count;
    do {
        if (room - length < 65536) text = need(realloc(text, room = room ? room * 2 : 1 << 20));
        count = fread(text + length, 1, room - length - 1, file);
        length += count;
    } while (count);
    fclose(file);
    text[length] = 0;
    return text;
}

static void read_numbers(const char *path)
{
    long room = 0;
    for (char *line = strtok(read_file(path), "\n"); line; line = strtok(NULL, "\n")) {
        if (*line != '+' || strlen(line) > 16) refuse("--numbers: a line is no E.164 number");
        if (number_count == room) numbers = need(realloc(numbers, (room = room ? room * 2 : 1024) * sizeof *numbers));
        numbers[number_count++] = line;
    }
    if (!number_count) refuse("--numbers: none in it");
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double part_ms(const double *sorted, long count, double part)
{
    if (!count) return 0;
    long i = (long)ceil(count * part) - 1;
    return sorted[i < 0 ? 0 : i] * 1000;
}

static void print_result(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double sum = 0, seconds = latency_count ? last_bridge - first_start : 0;
    for (long i = 0; i < latency_count; i++) sum += latencies[i];
    qsort(latencies, latency_count, sizeof *latencies, by_size);
    qsort(lateness, lateness_count, sizeof *lateness, by_size);
    printf("{\"calls\": %ld, \"seconds\": %.4f, \"calls_per_s\": %.1f, \"mean_ms\": %.4f, \"p50_ms\": %.4f, \"p90_ms\": %.4f, "
           "\"p99_ms\": %.4f, \"max_ms\": %.4f, \"late_p99_ms\": %.4f, \"cpu_s\": %.4f, \"asked\": %ld, \"errors\": {",
           latency_count, seconds, seconds > 0 ? latency_count / seconds : 0, latency_count ? sum / latency_count * 1000 : 0,
           part_ms(latencies, latency_count, .5), part_ms(latencies, latency_count, .9), part_ms(latencies, latency_count, .99),
           part_ms(latencies, latency_count, 1), part_ms(lateness, lateness_count, .99),
           used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6, asked);
    const char *comma = "";
    for (int i = 0; i < ERRORS; i++)
        if (errors[i]) { printf("%s\"%s\": %ld", comma, ERROR_NAMES[i], errors[i]); comma = ", "; }
    printf("}}\n");
}

int main(int argc, char **argv)
{
    static const struct option known[] = {
        { "port", required_argument, NULL, 'p' }, { "snapshot", required_argument, NULL, 's' },
        { "numbers", required_argument, NULL, 'n' }, { "closed", required_argument, NULL, 'c' },
        { "open", required_argument, NULL, 'o' }, { "hold", required_argument, NULL, 'h' },
        { "seconds", required_argument, NULL, 't' }, { "calls", required_argument, NULL, 'l' },
        { "callers", required_argument, NULL, 'm' }, { 0 },
    };
    for (int given; (given = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (given) {
        case 'p': options.port = atoi(optarg); break;
        case 's': snapshot = read_file(optarg); break;
        case 'n': read_numbers(optarg); break;
        case 'c': options.closed = atof(optarg); break;
        case 'o': options.open = atof(optarg); break;
        case 'h': options.hold = atof(optarg); break;
        case 't': options.seconds = atof(optarg); break;
        case 'l': options.calls = atol(optarg); break;
        case 'm': options.callers = atol(optarg); break;
        default: return 2;
        }
    }
    if (optind < argc || !options.port || !snapshot || !number_count || !!options.closed + !!options.open + !!options.hold != 1)
        refuse("--port, --snapshot, --numbers and one of --closed, --open, --hold are needed");
    if (options.callers < 1 || options.callers > 10000000) refuse("--callers: 1 to 10000000");
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (fmax(options.closed, options.hold) + 64 > files.rlim_cur) refuse("more calls than open files are allowed (ulimit -n)");
    events = epoll_create1(EPOLL_CLOEXEC);
    if (events < 0) fail("epoll");
    first_caller = (long)(now() * CALLERS_PER_S) % options.callers;
    if (options.closed) run_closed(); else if (options.open) run_open(); else run_hold();
    print_result();
    return 0;
}
