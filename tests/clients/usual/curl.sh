curl --silent --show-error --retry 4 ${timeout:+--max-time "$timeout"} --output answer --write-out '%{http_code}' \
  --header @headers --data-binary @body "$url"
