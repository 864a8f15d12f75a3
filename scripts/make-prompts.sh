#!/bin/sh
# Makes the spoken prompts of verification calls: fsroute/sounds/LANGUAGE/NAME.wav, in 8 kHz, 16 bit, mono.
#
#   scripts/make-prompts.sh [DIRECTORY]
#
# The texts are below. The files are in the repository: this is only needed when a text changes. Recordings of a person sound
# better: put files with the same names into a directory of your own, and name it in the setting `prompts`.
# Needs espeak-ng (1.51 made the shipped files) and sox.
set -eu
out=${1:-$(dirname "$0")/../fsroute/sounds}
speed=140      # words per minute; the default, 175, is too fast on the phone
packet=160     # samples: 20 ms. Whole packets, so that what is on the wire can be compared with the file

say() {
    language=$1 name=$2 text=$3
    file=$out/$language/$name.wav
    mkdir -p "$out/$language"
    # Without the silence before and after, not louder than half, and without dither: the same text gives the same file.
    espeak-ng -v "$language" -s "$speed" --stdout "$text" |
        sox -D -t wav - -r 8000 -c 1 -b 16 "$file.tmp.wav" \
            silence 1 0.005 0.5% reverse silence 1 0.005 0.5% reverse norm -6
    missing=$(( (packet - $(soxi -s "$file.tmp.wav") % packet) % packet ))
    sox -D "$file.tmp.wav" "$file" pad 0 "${missing}s"
    rm "$file.tmp.wav"
}

# On the phone "zwei" is taken for "drei": Germans then say "zwo".
i=0
for text in null eins zwo drei vier fünf sechs sieben acht neun; do
    say de $i $text
    i=$((i + 1))
done
say de intro "Guten Tag. Sie erhalten den Code, mit dem diese Rufnummer bestätigt wird.
Haben Sie ihn nicht angefordert, dann legen Sie bitte auf. Der Code lautet:"
say de again "Ich wiederhole:"
say de goodbye "Auf Wiederhören."

i=0
for text in zero one two three four five six seven eight nine; do
    say en $i $text
    i=$((i + 1))
done
say en intro "Hello. This is the code to verify this phone number.
If you did not ask for it, please hang up. The code is:"
say en again "Once more:"
say en goodbye "Goodbye."
