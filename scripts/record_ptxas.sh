#!/bin/sh
# Compiler launcher of the CUDA files: what ptxas says about each kernel goes to a file beside the object, not to the screen.
object=
previous=
for a in "$@"; do
    [ "$previous" = -o ] && object=$a
    previous=$a
done
case $object in *.o) ;; *) exec "$@" ;; esac
"$@" 2>"$object.err"
code=$?
grep -E 'ptxas info|bytes stack frame' "$object.err" >"$object.ptxas"
grep -vE 'ptxas info|bytes stack frame|^$' "$object.err" >&2
rm -f "$object.err"
exit $code
