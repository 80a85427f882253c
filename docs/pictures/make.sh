#!/bin/sh
# The pictures of docs/reference/features, made anew from the scene that the program plays as its demo:
#     sh docs/pictures/make.sh
set -e
cd "$(dirname "$0")"
plot() { PATH="../../.venv/bin:$PATH" earwitness plot demo "$@"; }
plot -o time-domain.png --rate 16000 --feature waveform --feature zero_crossing_rate --feature crest_factor
plot -o spectral.png --rate 16000 --feature descriptors --feature spectral_flatness --feature spectral_flux \
    --feature spectral_contrast
plot -o stft.png --rate 8000 --feature stft --feature spectrum
plot -o mel.png --rate 16000 --feature log_mel --feature mfcc --feature pcen --feature chroma
plot -o wavelets.png --rate 16000 --feature cwt
plot -o levels.png --feature level --feature lceq
