# handler EVENT REQUEST-ID prints the answer; what it writes to stderr is logged.
handler() {
  echo "hello from bash" >&2
  printf '{"greeting":"Hello from bash!","requestId":"%s","event":%s}' "$2" "$1"
}
