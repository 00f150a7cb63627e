package trigger

import "bytes"

// StreamType is the content type of a stream that begins with a prelude: status, headers and cookies as JSON, then eight
// NUL bytes, then the body.
const StreamType = "application/vnd.awslambda.http-integration-response"

// maxPrelude bounds the prelude in bytes. Ours: AWS's limit is not known.
const maxPrelude = 256 << 10

var preludeEnd = make([]byte, 8)

// Prelude collects the beginning of a stream until it is known how the rest is sent.
type Prelude struct{ text []byte }

// Take takes the next bytes of a stream. A nil Response wants more; with one, its Body is what has come of the body.
// Nothing may be taken afterwards. Error: ErrBadAnswer.
func (p *Prelude) Take(b []byte) (*Response, error) {
	searched := max(len(p.text)-len(preludeEnd)+1, 0)
	p.text = append(p.text, b...)
	i := bytes.Index(p.text[searched:], preludeEnd)
	switch {
	case i >= 0 && searched+i <= maxPrelude:
	case len(p.text) > maxPrelude:
		return nil, bad("its prelude has more than %d bytes", maxPrelude)
	default:
		return nil, nil //nolint:nilnil // more is wanted
	}
	head := bytes.TrimSpace(p.text[:searched+i])
	if len(head) == 0 || head[0] != '{' {
		return nil, bad("its prelude is no JSON object")
	}
	r, err := parseHead(head)
	if err != nil {
		return nil, err
	}
	r.Body = p.text[searched+i+len(preludeEnd):]
	return r, nil
}

// ParseStreamed reads a whole stream that begins with a prelude.
func ParseStreamed(payload []byte) (*Response, error) {
	var p Prelude
	r, err := p.Take(payload)
	if err == nil && r == nil {
		err = bad("its prelude does not end")
	}
	return r, err
}
