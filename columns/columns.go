// Package columns rearranges the tables of a kernel module so that it compresses
// better, and back. Two fifths of a network driver are relocations, rows of 24 bytes of
// which most are like the row before them: they are written column by column, and as
// differences.
//
// It reads no parameters and no files, and needs no module.
package columns

import "encoding/binary"

// A module is an ELF file (gABI, chapter 4) of 64 bits, little endian. In its place
// stands this mark where the tables are in columns.
const (
	elfMagic = "\x7fELF\x02\x01"
	mark     = "\x7fCOL\x02\x01"
)

const (
	sectionBytes = 64 // Of a section header.
	rowBytes     = 24 // Of a relocation with an addend, and of a symbol.

	symbols     = 2 // SHT_SYMTAB
	relocations = 4 // With addends.

	// maxTables is more than a module has: each one is compared with all others.
	maxTables = 1 << 12
)

// Split writes the tables of a module in columns, in place, and marks it. It tells
// whether it did: what is no module, or has tables that overlap with what says where they
// are, stays as it is.
func Split(module []byte) bool {
	if !hasPrefix(module, elfMagic) {
		return false
	}
	all, ok := tables(module)
	if !ok || len(all) == 0 {
		return false
	}
	for _, t := range all {
		t.split()
	}
	copy(module, mark)
	return true
}

// Join is the inverse of Split, in place. What is not marked stays as it is.
func Join(module []byte) {
	if !hasPrefix(module, mark) {
		return
	}
	all, _ := tables(module)
	for _, t := range all {
		t.join()
	}
	copy(module, elfMagic)
}

func hasPrefix(b []byte, prefix string) bool {
	return len(b) >= sectionBytes && string(b[:len(prefix)]) == prefix
}

// A table is a section of rows.
type table struct {
	kind       uint32
	begin, end uint64
	data       []byte
}

// tables are those of a module, which lie before its section headers. ok says that none
// lies on another, nor on the file's header.
func tables(module []byte) (all []table, ok bool) {
	le := binary.LittleEndian
	size := uint64(len(module))
	first, count := le.Uint64(module[0x28:]), uint64(le.Uint16(module[0x3c:]))
	if le.Uint16(module[0x3a:]) != sectionBytes || first < sectionBytes || first > size || count > (size-first)/sectionBytes {
		return nil, false
	}
	for i := range count {
		header := module[first+i*sectionBytes:]
		kind, begin, length := le.Uint32(header[4:]), le.Uint64(header[24:]), le.Uint64(header[32:])
		if kind != symbols && kind != relocations || le.Uint64(header[56:]) != rowBytes {
			continue
		}
		if len(all) == maxTables || begin < sectionBytes || begin > first || length > first-begin || length%rowBytes != 0 {
			return nil, false
		}
		for _, t := range all {
			if begin < t.end && t.begin < begin+length {
				return nil, false
			}
		}
		all = append(all, table{kind, begin, begin + length, module[begin : begin+length]})
	}
	return all, true
}

// split writes each row as its difference to what is expected, and the rows in columns of
// bytes.
func (t table) split() {
	n := len(t.data) / rowBytes
	rows := make([]byte, len(t.data))
	e := &expectation{kind: t.kind}
	for i := range n {
		row := t.data[i*rowBytes:][:rowBytes]
		e.subtract(row)
		for column, b := range row {
			rows[column*n+i] = b
		}
	}
	copy(t.data, rows)
}

// join is the inverse of split.
func (t table) join() {
	n := len(t.data) / rowBytes
	rows := make([]byte, len(t.data))
	e := &expectation{kind: t.kind}
	for i := range n {
		row := rows[i*rowBytes:][:rowBytes]
		for column := range row {
			row[column] = t.data[column*n+i]
		}
		e.add(row)
	}
	copy(t.data, rows)
}

// An expectation is what the next row would be: a symbol's name follows the one before,
// a relocation's place too, and its addend the last one of the same symbol, or of one that
// shares its number here.
type expectation struct {
	kind    uint32
	name    uint32
	place   uint64
	addends [1 << 12]uint64
}

func (e *expectation) addend(row []byte) *uint64 {
	symbol := binary.LittleEndian.Uint32(row[symbolAt:])
	return &e.addends[symbol%uint32(len(e.addends))]
}

// Fields of a row: a symbol has its name first; a relocation has place, type, symbol, addend.
const (
	symbolAt = 12
	addendAt = 16
)

// subtract makes a row the difference to what is expected.
func (e *expectation) subtract(row []byte) {
	le := binary.LittleEndian
	if e.kind == symbols {
		name := le.Uint32(row)
		le.PutUint32(row, name-e.name)
		e.name = name
		return
	}
	place, addend, last := le.Uint64(row), le.Uint64(row[addendAt:]), e.addend(row)
	le.PutUint64(row, place-e.place)
	le.PutUint64(row[addendAt:], addend-*last)
	e.place, *last = place, addend
}

// add is the inverse of subtract.
func (e *expectation) add(row []byte) {
	le := binary.LittleEndian
	if e.kind == symbols {
		e.name += le.Uint32(row)
		le.PutUint32(row, e.name)
		return
	}
	last := e.addend(row)
	e.place += le.Uint64(row)
	*last += le.Uint64(row[addendAt:])
	le.PutUint64(row, e.place)
	le.PutUint64(row[addendAt:], *last)
}
