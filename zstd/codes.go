package zstd

import (
	"encoding/binary"
	"math/bits"
)

// A stream reads bits from the end of some bytes to their start (RFC 8878, section 4.1).
// Places are numbers of bits of src, which has slack behind the stream, and before it at
// least the header of the frame.
type stream struct {
	src       []byte
	start, at int
	short     bool // More was read than there is.
}

// openStream opens the stream between two bytes. It begins above the first bit that is
// set in the last byte.
func (d *decoder) openStream(start, end int) *stream {
	check(start < end && end <= d.end && d.src[end-1] != 0)
	return &stream{src: d.src, start: 8 * start, at: 8*end - 9 + bits.Len8(d.src[end-1])}
}

// peek gives the next n bits, at most 32. Before the start there is anything.
func (s *stream) peek(n int) int {
	at := s.at - n
	return int(binary.LittleEndian.Uint64(s.src[at>>3:]) >> (at & 7) & (1<<n - 1))
}

// read reads n bits.
func (s *stream) read(n int) int {
	if n > s.at-s.start {
		s.short = true
		return 0
	}
	v := s.peek(n)
	s.at -= n
	return v
}

// close is for the end of what the stream has to say.
func (s *stream) close() { check(s.at == s.start && !s.short) }

// An entry says what a state stands for, and how to come to the next one: by bits that
// are added to next. In a table of Huffman's code it has a symbol and its length.
type entry struct {
	next   uint16
	symbol byte
	bits   byte
}

// A state walks through a table of a finite state entropy code.
type state struct {
	table []entry
	at    int
}

func openState(table []entry, s *stream) state {
	return state{table, s.read(bits.Len(uint(len(table))) - 1)}
}

func (s *state) move(from *stream) {
	e := s.table[s.at]
	s.at = int(e.next) + from.read(int(e.bits))
}

// readTable reads the description of a table (section 4.1.1) and builds it. maxLog and
// symbols are its greatest size and number of symbols.
func (d *decoder) readTable(maxLog, symbols int) []entry {
	at := 8 * d.at
	read := func(n int) int {
		check(at+n <= 8*d.end)
		v := int(binary.LittleEndian.Uint64(d.src[at>>3:]) >> (at & 7) & (1<<n - 1))
		at += n
		return v
	}
	log := 5 + read(4)
	check(log <= maxLog)
	var counts []count
	for left := 1 << log; left > 0; {
		// A number up to left+1, the lower ones in a bit less.
		n := bits.Len(uint(left + 1))
		v := read(n - 1)
		if below := 1<<n - 2 - left; v >= below {
			if v |= read(1) << (n - 1); v >= 1<<(n-1) {
				v -= below
			}
		}
		counts = append(counts, count(v-1))
		left -= max(v-1, 1-v) // 0 stands for one state, and for less than one by its frequency.
		for more := v == 1; more; {
			zeros := read(2)
			counts = append(counts, make([]count, zeros)...)
			more = zeros == 3
		}
		check(len(counts) <= symbols)
	}
	d.at = (at + 7) / 8
	return buildTable(counts, log)
}

// A count is how many states a symbol has; -1 is one with few bits left.
type count int16

// buildTable spreads the symbols over the states (section 4.1.1).
func buildTable(counts []count, log int) []entry {
	size := 1 << log
	table := make([]entry, size)
	next := make([]int, len(counts))
	high, total := size-1, 0
	for s, n := range counts {
		next[s] = int(max(n, -n))
		total += next[s]
		if n < 0 {
			table[high].symbol = byte(s)
			high--
		}
	}
	check(total == size)
	at := 0
	for s, n := range counts {
		for range max(0, n) {
			table[at].symbol = byte(s)
			for again := true; again; again = at > high {
				at = (at + size>>1 + size>>3 + 3) & (size - 1)
			}
		}
	}
	for i := range table {
		e := &table[i]
		n := next[e.symbol]
		next[e.symbol]++
		width := log + 1 - bits.Len(uint(n))
		e.bits, e.next = byte(width), uint16(n<<width-size)
	}
	return table
}

// maxHuffman is the longest code, in bits (section 4.2.1).
const maxHuffman = 11

// readHuffman reads the description of a Huffman code: weights of symbols (section 4.2.1).
// That of the last symbol is what is missing to a power of two.
func (d *decoder) readHuffman() []entry {
	var weights []byte
	if n := int(d.number(1)); n < 128 {
		weights = d.readWeights(d.take(n), d.at)
	} else {
		for i := range n - 127 {
			if i&1 == 0 {
				d.take(1)
			}
			weights = append(weights, d.src[d.at-1]>>(4*(1-i&1))&15)
		}
	}
	total := 0
	for _, w := range weights {
		check(w <= maxHuffman)
		total += 1 << w >> 1
	}
	width := bits.Len(uint(total))
	left := 1<<width - total
	check(total > 0 && width <= maxHuffman && left&(left-1) == 0 && len(weights) <= 255)
	weights = append(weights, byte(bits.Len(uint(left))))
	table := make([]entry, 0, 1<<width)
	for w := 1; w <= width; w++ {
		for s, weight := range weights {
			for i := 0; int(weight) == w && i < 1<<w>>1; i++ {
				table = append(table, entry{symbol: byte(s), bits: byte(width + 1 - w)})
			}
		}
	}
	return table
}

// readWeights reads weights that are compressed themselves, by two states that take turns.
func (d *decoder) readWeights(at, end int) (weights []byte) {
	rest := d.end
	d.at, d.end = at, end
	table := d.readTable(6, maxHuffman+2)
	s := d.openStream(d.at, end)
	d.at, d.end = end, rest
	this, other := openState(table, s), openState(table, s)
	check(!s.short)
	for !s.short && len(weights) <= 255 {
		weights = append(weights, table[this.at].symbol)
		this.move(s)
		this, other = other, this
	}
	return append(weights, table[this.at].symbol) // The end of one: the other has the last.
}
