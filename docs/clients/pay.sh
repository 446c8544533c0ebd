#!/bin/sh
# Makes one payment, however often it has to repeat the request: pay.sh URL TOKEN BODY [KEY]. Needs curl.
set -eu
url=$1 token=$2 body=$3
# One key per decision. To repeat the request after a crash of this script, pass the key that it used.
key=${4:-$(cat /proc/sys/kernel/random/uuid 2>/dev/null || uuidgen)}
answer=$(mktemp) headers=$(mktemp)
trap 'rm -f "$answer" "$headers"' EXIT

pause=1
while :; do
  # 000: no answer at all.
  status=$(curl -sS -o "$answer" -D "$headers" -w '%{http_code}' --max-time 40 "$url" \
    -H "Authorization: Bearer $token" -H "Idempotency-Key: \"$key\"" -H 'Content-Type: application/json' \
    -d "$body") || status=000
  case $status in
    000 | 5??) again=true ;;
    *) again=false; ! grep -q '"retryable": *true' "$answer" || again=true ;;
  esac
  if [ "$again" = false ]; then
    cat "$answer"
    echo
    case $status in 2??) exit 0 ;; *) exit 1 ;; esac
  fi
  after=$(tr -d '\r' <"$headers" | sed -n 's/^[Rr]etry-[Aa]fter: *\([0-9][0-9]*\)$/\1/p')
  sleep "${after:-$pause}"
  [ "$pause" -ge 30 ] || pause=$((pause * 2))
done
