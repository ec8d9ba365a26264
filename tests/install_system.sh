#!/bin/sh
# Install what the tests marked "system" need, on Debian and Ubuntu. Run as root.
set -eu
packages="chromium fonts-noto-cjk git-lfs nginx-light postgresql"
missing=""
for package in $packages; do
  dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"
done
if [ -n "$missing" ]; then
  apt-get update -qq
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
fi
