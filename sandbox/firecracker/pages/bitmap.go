package pages

import "bytes"

// bitmap has a bit for each page.
type bitmap []uint64

func newBitmap(n int64) bitmap { return make(bitmap, (n+63)/64) }

func (b bitmap) has(i int64) bool { return b[i/64]&(1<<(i%64)) != 0 }

// set says whether it was not set before.
func (b bitmap) set(i int64) bool {
	was := b.has(i)
	b[i/64] |= 1 << (i % 64)
	return !was
}

func (b bitmap) clear(i int64) { b[i/64] &^= 1 << (i % 64) }

var zeroPage [Size]byte

// isZero says whether a page has zeros alone.
func isZero(b []byte) bool { return bytes.Equal(b, zeroPage[:]) }
