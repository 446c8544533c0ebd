#!/bin/sh
# Makes one payment, and ends knowing whether it was made: TOKEN=… pay.sh URL ORDER BODY. Needs curl 7.84.
#
# ORDER names the decision to pay; the key is derived from it. So you may interrupt this script, and run it again with the
# same ORDER and BODY until 24 hours after it ended. It pays once. Another attempt after a refusal is another ORDER.
#
# Exit codes: 0 paid. 1 not charged, and not under this ORDER. 2 wrong arguments. 3 not known: run it again.
set -eu
timeout_s=35 tries=8 longest_pause_s=30 longest_retry_after_s=300
end() { echo "$2" >&2; exit "$1"; }
case ${1:-} in http://* | https://*) url=true ;; *) url=false ;; esac
[ $# = 3 ] && [ $url = true ] && [ -n "$2" ] && [ -n "${TOKEN:-}" ] || end 2 'usage: TOKEN=… pay.sh URL ORDER BODY'
key=$(printf 'POST /payments %s' "$2" | { sha256sum 2>/dev/null || shasum -a 256; } | cut -d ' ' -f 1)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
interrupted() { end 3 'not known (interrupted): run this again'; }
trap interrupted HUP INT TERM
# In a file, or other users could read the token in the list of processes.
printf 'Authorization: Bearer %s\nIdempotency-Key: "%s"\nContent-Type: application/json\n' "$TOKEN" "$key" >"$folder/headers"

# Retry-After in seconds: a number of seconds, or the time until a date. Anything else counts as none.
seconds() {
  case $1 in
    *GMT) date=$(date -ud "$1" +%s 2>/dev/null || date -juf '%a, %d %b %Y %T GMT' "$1" +%s 2>/dev/null) || date=0
      echo $((date - $(date +%s))) ;;
    '' | *[!0-9]*) echo 0 ;;
    *) printf '%.9s' "$1" ;;
  esac
}

try=1 pause=1
while :; do
  : >"$folder/answer"
  said=$(curl -sS -m "$timeout_s" -H @"$folder/headers" --data-raw "$3" --url "$1" -o "$folder/answer" \
    -w '%{http_code}\n%header{retry-after}\n%header{idempotency-replayed}\n%{content_type}' 2>/dev/null) ||
    case $? in
      129 | 130 | 143) interrupted ;; # The signal of a trap above, if only curl got it.
      *) said=000 ;; # No whole answer.
    esac
  # The lines at the end are missing if they are empty.
  after='' recorded='' type=''
  { read -r status && read -r after && read -r recorded && read -r type || :; } <<SAID
$said
SAID
  content=$(tr -d ' \r\n\0' <"$folder/answer")
  case $content in '{'*'}') ;; *) content='' ;; esac
  case "$type $content" in application/problem+json*'"code":'*) problem=$content ;; *) problem='' ;; esac
  case "$status $recorded $content" in
    2??*'"id":'* | 2??' true '*) cat "$folder/answer" && echo && end 0 paid ;;
    ???' true '*) cat "$folder/answer" && echo && end 1 'not charged' ;;
  esac
  case "$status $problem" in
    408* | 425* | 429* | *'"retryable":true'*) again=true ;;
    # These refuse this request only: an earlier one under the key may have charged.
    *'"code":"missing-'[kvp]* | *'"code":"invalid-key"'* | *'"code":"content-too-large"'* | \
      *'"code":"fingerprint-mismatch"'* | *'"code":"answer-unreadable"'*) again=false ;;
    *'"retryable":false'*) cat "$folder/answer" && echo && end 1 'not charged' ;;
    4*) again=false ;;
    *) again=true ;; # Anything may have happened.
  esac
  if [ "$again" = false ]; then
    cat "$folder/answer" && echo && end 3 "not known (this request was refused: $status): correct that and run this again"
  fi
  after=$(seconds "$after")
  if [ "$after" -gt "$longest_retry_after_s" ] || [ "$try" -ge "$tries" ]; then
    end 3 "not known (the answer was $status): run this again later"
  fi
  [ "$after" -gt "$pause" ] || after=$pause
  sleep "$after"
  try=$((try + 1)) pause=$((pause * 2 > longest_pause_s ? longest_pause_s : pause * 2))
done
