#!/usr/bin/env bash
# `make demo`: from a folder of sound files to a corpus, with every command shown. Needs no network.
set -euo pipefail
corpus=${CORPUS:-demo/corpus}
out=demo/out
mkdir -p demo

say() { printf '\n== %s\n' "$*"; }
show() { printf '$ %s\n' "$*"; "$@"; }

if [ "$corpus" = demo/corpus ]; then
    say "A corpus made by code, in $corpus. Two of its files are damaged on purpose."
    rm -rf "$corpus"
    show python tests/corpus_maker.py "$corpus"
elif [ ! -e "$corpus" ]; then
    echo "make demo: CORPUS=$corpus does not exist" >&2
    exit 2
fi

say "What a run over it would do"
show corpusdiff plan "$corpus" --job asr

say "The run"
rm -rf "$out"
status=0
show corpusdiff run "$corpus" "$out" --job asr || status=$?
case $status in
    0) echo "Exit code 0: every track is ok." ;;
    3) echo "Exit code 3: done, and some tracks failed. They are listed above, and are rows of the table below." ;;
    *) echo "make demo: the run failed with exit code $status" >&2; exit "$status" ;;
esac
if [ "$corpus" = demo/corpus ] && [ "$status" -ne 3 ]; then
    echo "make demo: two damaged files should have failed, but the exit code is $status" >&2
    exit 1
fi

say "Is everything there and whole?"
show corpusdiff verify "$out"

say "One row per track (the first ten here, all of them in demo/tracks.csv)"
show corpusdiff table "$out" --limit 10
corpusdiff table "$out" --format csv -o demo/tracks.csv

say "From Python"
python - "$out" <<'PY'
import sys

import corpusdiff

corpus = corpusdiff.open(sys.argv[1])
item = next(item for item in corpus if item.status == "ok")
print(f"{len(corpus)} tracks; the first with audio is {item.id}: {item.audio.shape} at {item.sr} Hz")
PY

bin=$(dirname "$(command -v corpusdiff)")
cat <<END

Look further:
  $bin/corpusdiff jobs asr                what the job did, to start your own from
  $bin/corpusdiff status $out        how far a run has come
  make demo CORPUS=path/to/your/folder    the same over your own audio
END
