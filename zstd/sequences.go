package zstd

// What a sequence has: how many literals come first, how many bytes ago what is repeated
// lies, and how long that is.
const (
	literalLength = iota
	offset
	matchLength
	kinds
)

// A kind says how the numbers of one kind are written (RFC 8878, sections 3.1.1.3.2.1 and
// 3.1.1.3.2.2): a code stands for the first of some numbers, and so many bits are added.
type kind struct {
	// bits are those of the codes from first on; before it a code is its number.
	bits        string
	first, base int
	maxLog      int
	symbols     int
	// counts are of the table that needs no description, log is its size.
	counts []count
	log    int
}

var numbers = [kinds]kind{
	literalLength: {
		bits: "\x01\x01\x01\x01\x02\x02\x03\x03\x04\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10", first: 16, maxLog: 9, symbols: 36, log: 6,
		counts: []count{4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1},
	},
	offset: {
		maxLog: 8, symbols: 32, log: 5,
		counts: []count{1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1},
	},
	matchLength: {
		bits: "\x01\x01\x01\x01\x02\x02\x03\x03\x04\x04\x05\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10", first: 32, base: 3, maxLog: 9, symbols: 53, log: 6,
		counts: []count{1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1},
	},
}

// value reads the bits that a code asks for.
func (k *kind) value(s *state, from *stream) int {
	code := int(s.table[s.at].symbol)
	if k.bits == "" {
		return 1<<code + from.read(code)
	}
	v := k.base + min(code, k.first)
	if code < k.first {
		return v
	}
	for _, n := range []byte(k.bits[:code-k.first]) {
		v += 1 << n
	}
	return v + from.read(int(k.bits[code-k.first]))
}

// sequences reads what is to be repeated, and unpacks the block.
func (d *decoder) sequences() {
	count := int(d.number(1))
	switch {
	case count == 255:
		count = int(d.number(2)) + 0x7f00
	case count > 127:
		count = (count-128)<<8 + int(d.number(1))
	case count == 0:
		check(d.at == d.end)
		d.write(d.literals)
		return
	}
	modes := d.number(1)
	check(modes&3 == 0)
	for k := range d.tables {
		n := &numbers[k]
		switch modes >> (6 - 2*k) & 3 {
		case 0:
			d.tables[k] = buildTable(n.counts, n.log)
		case 1: // One symbol for all.
			symbol := d.src[d.take(1)]
			check(int(symbol) < n.symbols)
			d.tables[k] = []entry{{symbol: symbol}}
		case 2:
			d.tables[k] = d.readTable(n.maxLog, n.symbols)
		}
		check(d.tables[k] != nil) // 3: that of the block before.
	}
	s := d.openStream(d.at, d.end)
	d.at = d.end
	var states [kinds]state
	for k := range states {
		states[k] = openState(d.tables[k], s)
	}
	start := len(d.dst)
	for i := range count {
		if i > 0 {
			states[literalLength].move(s)
			states[matchLength].move(s)
			states[offset].move(s)
		}
		number := numbers[offset].value(&states[offset], s)
		length := numbers[matchLength].value(&states[matchLength], s)
		fresh := numbers[literalLength].value(&states[literalLength], s)
		check(!s.short && fresh <= len(d.literals))
		d.write(d.literals[:fresh])
		d.literals = d.literals[fresh:]
		d.repeat(d.lookUp(number, fresh), length)
	}
	s.close()
	d.write(d.literals)
	check(len(d.dst)-start <= maxBlock)
}

// lookUp gives how many bytes ago is meant: the first three numbers stand for the last
// offsets (section 3.1.1.5). Without literals before it, the last one would have been
// part of what was repeated then, and the numbers mean others.
func (d *decoder) lookUp(number, fresh int) int {
	o := &d.offsets
	if number > 3 {
		*o = [3]int{number - 3, o[0], o[1]}
		return o[0]
	}
	if fresh == 0 {
		number++
	}
	switch number {
	case 2:
		*o = [3]int{o[1], o[0], o[2]}
	case 3:
		*o = [3]int{o[2], o[0], o[1]}
	case 4:
		*o = [3]int{o[0] - 1, o[0], o[1]}
	}
	return o[0]
}

// repeat adds n bytes again that were unpacked so many bytes ago.
func (d *decoder) repeat(ago, n int) {
	check(ago > 0)
	for n > 0 {
		from := len(d.dst) - ago
		part := min(n, ago) // What is added may be repeated in turn.
		d.write(d.dst[from : from+part])
		n -= part
	}
}
