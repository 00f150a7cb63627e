package telemetry

// maxReplay bounds the output that is kept for those who subscribe later, in bytes. Platform events are always kept: they
// are few.
const maxReplay = 256 << 10

// maxReplayLines bounds it in lines, which may be short: each takes some hundred bytes beside its text.
const maxReplayLines = 10_000

// history is what happened in Init, for those who subscribe later. The oldest output goes first, at a cost that does not
// grow with what is kept: its places stay behind as empty news until they are the greater part.
type history struct {
	all    []news
	oldest int // no output is kept before it
	kept   int // bytes of output
	lines  int // news that are output
	empty  int
}

func (h *history) add(n news) {
	if n.kind != Platform {
		for h.lines > 0 && (h.kept+len(n.text) > maxReplay || h.lines == maxReplayLines) {
			h.forget()
		}
		h.kept += len(n.text)
		h.lines++
	}
	h.all = append(h.all, n)
}

// forget lets go of the oldest output. There is some.
func (h *history) forget() {
	for h.all[h.oldest].kind == Platform || h.all[h.oldest].kind == "" {
		h.oldest++
	}
	h.kept -= len(h.all[h.oldest].text)
	h.lines--
	h.all[h.oldest] = news{}
	if h.empty++; h.empty <= len(h.all)/2 {
		return
	}
	rest := make([]news, 0, len(h.all)-h.empty)
	h.replay(func(n news) { rest = append(rest, n) })
	h.all, h.oldest, h.empty = rest, 0, 0
}

// replay gives everything that is kept, in its order.
func (h *history) replay(give func(news)) {
	for _, n := range h.all {
		if n.kind != "" {
			give(n)
		}
	}
}
