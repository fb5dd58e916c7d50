#!/usr/bin/env bash
# Brings a fresh Debian 12 machine to where this project builds, runs and passes its tests.
#
#   scripts/setup.sh demo    what building and the demo need
#   scripts/setup.sh test    the same, and what the tests need (browser, NTP server, ...)
#   scripts/setup.sh bench   the same as demo, and what the receiver is measured against
#
# Says what it installs before it does. Running it again does nothing. What it fetches besides Debian's packages
# lies in .cache/ and is checked against the SHA-256 below.
set -euo pipefail
cd "$(dirname "$0")/.."

build_packages=(
    build-essential pkg-config ca-certificates unzip python3 python3-pip
    libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev libgstrtspserver-1.0-dev
    gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad
    gstreamer1.0-plugins-ugly gstreamer1.0-libav glib-networking
)
test_packages=(
    chromium chromium-driver fonts-noto-cjk chrony faketime procps
    # What faults are made with: file systems, packets, system calls.
    e2fsprogs mount iproute2 nftables strace
    # A real time-stamp authority.
    openssl
    # A real authority that gives certificates.
    pebble
    # Real mail servers.
    opensmtpd stunnel4 python3-aiosmtpd
)
# What the receiver is compared with.
bench_packages=(mosquitto nginx-light)

onnxruntime_version=1.32.0
axe_version=4.11.1
axe_sha256=5b86f813d96904f2d925fed5715877c75fc1cc140f89565fb42145e7801b2305
film_sha256=45cddc9490be69345cbdab64ca583be65987e864ca408038e648db99e10516cf

say() { printf '\033[1m==>\033[0m %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else
        command -v sudo >/dev/null || die "installing Debian packages needs root: run as root, or install sudo"
        sudo "$@"
    fi
}

install_packages() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    command -v apt-get >/dev/null || die "this is not Debian; please install what these packages hold: ${missing[*]}"
    say "installing from Debian: ${missing[*]}"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# ONNX Runtime's shared library comes out of the Python wheel that its makers publish (MIT licence).
fetch_onnxruntime() {
    local folder=.cache/onnxruntime machine platform sha256 work
    [ -e "$folder/libonnxruntime.so.$onnxruntime_version" ] && return
    machine=$(uname -m)
    case "$machine" in
        x86_64) sha256=5a34fc4dfeb5a7b4a74c95dcba1e773d722abda720b474edf1b0c419dc6d163d ;;
        aarch64) sha256=2303372a85299b6757b0e11e1cbf13e410ddf7e10c37f4b37e99d1c90e7daf7c ;;
        *) die "there is no ONNX Runtime library for $machine" ;;
    esac
    platform="manylinux_2_28_$machine"
    say "getting ONNX Runtime $onnxruntime_version"
    work=$(mktemp -d)
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
        --python-version 3.11 --platform "$platform" --dest "$work" "onnxruntime==$onnxruntime_version"
    echo "$sha256  $(echo "$work"/*.whl)" | sha256sum --check --quiet || die "ONNX Runtime's wheel is not the one we know"
    mkdir -p "$folder"
    unzip -q -o -j "$work"/*.whl 'onnxruntime/capi/libonnxruntime.so.*' 'onnxruntime/LICENSE' \
        'onnxruntime/ThirdPartyNotices.txt' -d "$folder"
    rm -rf "$work"
}

# The street film is 8 MB of a package that takes 270 MB installed: only the film is taken out.
fetch_film() {
    local film=.cache/media/vtest.avi work
    [ -e "$film" ] && return
    say "getting the PETS street film out of Debian's opencv-doc"
    work=$(mktemp -d)
    # apt hands the download to an unprivileged user, who must be able to write here.
    chmod 777 "$work"
    [ -n "$(find /var/lib/apt/lists -name '*_Packages*' -print -quit 2>/dev/null)" ] || as_root apt-get update -qq
    (cd "$work" && apt-get download -qq opencv-doc) || { as_root apt-get update -qq && (cd "$work" && apt-get download -qq opencv-doc); }
    dpkg-deb --fsys-tarfile "$work"/opencv-doc_*.deb |
        tar -x -C "$work" --wildcards '*/examples/data/vtest.avi'
    echo "$film_sha256  $(find "$work" -name vtest.avi)" | sha256sum --check --quiet || die "the film is not the one we know"
    mkdir -p .cache/media
    mv "$(find "$work" -name vtest.avi)" "$film"
    rm -rf "$work"
}

# axe-core looks at pages as people with assistive technology meet them (MPL-2.0). For tests only: it is no part of the product.
fetch_axe() {
    local folder=.cache/axe work
    [ -e "$folder/axe-$axe_version.min.js" ] && return
    say "getting axe-core $axe_version"
    command -v npm >/dev/null || install_packages npm
    work=$(mktemp -d)
    (cd "$work" && npm pack --silent "axe-core@$axe_version" >/dev/null)
    echo "$axe_sha256  $work/axe-core-$axe_version.tgz" | sha256sum --check --quiet || die "axe-core is not the one we know"
    tar -xzf "$work/axe-core-$axe_version.tgz" -C "$work" package/axe.min.js package/LICENSE
    mkdir -p "$folder"
    mv "$work/package/LICENSE" "$folder/LICENSE"
    mv "$work/package/axe.min.js" "$folder/axe-$axe_version.min.js"
    rm -rf "$work"
}

command -v cargo >/dev/null || die "there is no Rust toolchain: install one with rustup (1.95 or newer)"
case "${1:-demo}" in
    demo) install_packages "${build_packages[@]}" ;;
    test) install_packages "${build_packages[@]}" "${test_packages[@]}" ;;
    bench) install_packages "${build_packages[@]}" "${bench_packages[@]}" ;;
    *) die "say 'demo', 'test' or 'bench'" ;;
esac
fetch_onnxruntime
fetch_film
if [ "${1:-demo}" = test ]; then fetch_axe; fi
