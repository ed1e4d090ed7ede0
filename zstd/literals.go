package zstd

import "math/bits"

// readLiterals reads the bytes of a block that are not repeated (RFC 8878, section
// 3.1.1.3.1).
func (d *decoder) readLiterals() {
	first := d.src[d.take(1)]
	d.at--
	kind, format := first&3, first>>2&3
	if kind < 2 { // As they are, or one byte repeated.
		width, shift := 1, 3
		if format&1 != 0 {
			width, shift = 2+int(format>>1), 4
		}
		size := int(d.number(width) >> shift)
		check(size <= maxBlock)
		if kind == 1 {
			d.literals = d.run(size)
			return
		}
		at := d.take(size)
		d.literals = d.src[at : at+size]
		return
	}
	width, digits := 3, 10
	if format > 1 {
		width, digits = int(format)+2, 4*int(format)+6
	}
	sizes := d.number(width)
	size, packed := int(sizes>>4)&(1<<digits-1), int(sizes>>(4+digits))
	check(size <= maxBlock)
	end := d.take(packed) + packed
	d.at -= packed
	if kind == 2 {
		d.huffman = d.readHuffman()
	}
	d.literals = make([]byte, size)
	// The ends of the streams: of the first three, and of the last.
	ends := []int{end}
	part := size
	if format > 0 {
		part = (size + 3) / 4
		s := d.number(6)
		one := d.at + int(s&0xffff)
		two := one + int(s>>16&0xffff)
		ends = []int{one, two, two + int(s>>32), end}
	}
	out := d.literals
	for i, e := range ends {
		check(e <= end)
		if i == len(ends)-1 {
			part = len(out)
		}
		d.readStream(d.openStream(d.at, e), out[:part])
		d.at, out = e, out[part:]
	}
}

// readStream unpacks a stream of the Huffman code.
func (d *decoder) readStream(s *stream, out []byte) {
	width := bits.Len(uint(len(d.huffman))) - 1
	check(width > 0)
	for i := range out {
		e := d.huffman[s.peek(width)]
		out[i] = e.symbol
		s.at -= int(e.bits)
		check(s.at >= s.start)
	}
	s.close()
}
