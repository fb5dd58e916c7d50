# To be sourced: `cargo_tool NAME VERSION` builds a cargo tool once into .cache/ and leaves its path in $tool.

cargo_tool() {
    tool=.cache/tools/bin/$1
    if [ ! -x "$tool" ] || ! grep -qs "^\"$1 $2 " .cache/tools/.crates.toml; then
        echo "building $1 $2 (once)"
        CARGO_TARGET_DIR=.cache/tools/target cargo install "$1" --version "$2" --locked --quiet --force --root .cache/tools
        rm -rf .cache/tools/target
    fi
}
