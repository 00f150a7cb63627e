package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// What a function wrote is bytes of a stranger. A terminal takes some of them for commands: to move the cursor over
// other lines, to set the title, to answer on the user's keyboard. So they are shown as marks, as less and cat -v show
// them, wherever such bytes are printed for people.
//
// Text that is data goes out unchanged where a program reads it: the answer on a stdout that is no terminal, JSON
// (which has escapes of its own), and everything with --raw.

// visible shows control characters of a text of several lines: ^[ for escape, <U+202E> for one beyond ASCII, <FF> for a
// byte that is no UTF-8. Tabs and ends of lines stay.
func visible(s string) string { return marked(s, "\t\n") }

// visibleLine is visible for a text that must stay on its line.
func visibleLine(s string) string { return marked(s, "") }

func marked(s, keep string) string {
	plain := 0
	for plain < len(s) && (' ' <= s[plain] && s[plain] < 0x7f || strings.IndexByte(keep, s[plain]) >= 0) {
		plain++
	}
	if plain == len(s) {
		return s
	}
	var b strings.Builder
	b.WriteString(s[:plain])
	for i := plain; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, "<%02X>", s[i])
		case r < 0x80 && strings.IndexByte(keep, s[i]) >= 0:
			b.WriteByte(s[i])
		case r == '\r' && strings.HasPrefix(s[i+1:], "\n") && strings.IndexByte(keep, '\n') >= 0: // an end of a line
		case r < ' ' || r == 0x7f:
			b.WriteByte('^')
			b.WriteByte(s[i] ^ 0x40)
		case commanding(r):
			fmt.Fprintf(&b, "<U+%04X>", r)
		default:
			b.WriteString(s[i : i+size])
		}
		i += size
	}
	return b.String()
}

// commanding says whether a character beyond ASCII changes what is seen of its neighbours: C1 controls, of which U+009B
// begins what escape begins, ends of lines and paragraphs, and marks that turn the direction of text.
func commanding(r rune) bool {
	return 0x80 <= r && r < 0xa0 || r == 0x061c || 0x200e <= r && r <= 0x200f || 0x2028 <= r && r <= 0x202e || 0x2066 <= r && r <= 0x2069
}

// escaped writes a JSON text whose strings hold no such character as it is. encoding/json leaves those beyond ASCII, and DEL.
func escaped(text []byte) []byte {
	if bytes.IndexFunc(text, func(r rune) bool { return r == 0x7f || commanding(r) }) < 0 {
		return text
	}
	var b []byte
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		if r == 0x7f || commanding(r) {
			b = append(b, `\u`...)
			b = append(b, strconv.FormatInt(0x10000+int64(r), 16)[1:]...)
		} else {
			b = append(b, text[:size]...)
		}
		text = text[size:]
	}
	return b
}

// writeJSON writes a value and the end of a line.
func writeJSON(w io.Writer, v any, indent string) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", indent)
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(escaped(b.Bytes()))
	return err
}

// terminal says whether what is written to w is shown to a person.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
