#!/usr/bin/env bash
# tonic 1.7.0: `AddNoise(snr)` mixes in noise at another signal-to-noise ratio than asked for.
#
# Input: a sine and white noise of equal power, and noise of a hundredth of its power; ratios of 20, 10 and 0 dB, not
# normalised.
#
# Expected: the ratio that was asked for.
#
# Seen: for equal powers twice the decibels: 40, 20, 0. For the weak noise 20 dB less. The factor of the powers is
# applied to the amplitudes, without a square root.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "tonic==1.7.0" "librosa==0.11.0" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from tonic.audio_transforms import AddNoise

random = np.random.default_rng(0)
signal = np.sqrt(2) * np.sin(2 * np.pi * 50 * np.arange(16_000) / 16_000)[None]
white = random.normal(size=(1, 16_000))
white /= np.sqrt((white**2).mean())
for factor, shift in ((1.0, 0.0), (0.1, -20.0)):
    for asked in (20.0, 10.0, 0.0):
        mixed = AddNoise(dataset=[(factor * white, 0)], snr=asked, normed=False)(signal.copy())
        found = 10 * np.log10((signal**2).mean() / ((mixed - signal) ** 2).mean())
        print(f"power of the noise {factor**2:.2f}: asked for {asked:4.0f} dB, got {found:5.1f} dB")
        assert abs(found - (2 * asked + shift)) < 0.1
PYTHON
