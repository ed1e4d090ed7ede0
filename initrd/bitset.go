package initrd

import "math/bits"

// A bitset is a set of small numbers: those of modules, as modules.dep lists
// them.
type bitset []uint64

func newBitset(n int) bitset { return make(bitset, (n+63)/64) }

func (b bitset) set(i int)      { b[i/64] |= 1 << (i % 64) }
func (b bitset) clear(i int)    { b[i/64] &^= 1 << (i % 64) }
func (b bitset) has(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }

// add takes over all that is in other, a set of the same size.
func (b bitset) add(other bitset) {
	for i, word := range other {
		b[i] |= word
	}
}

// meets tells whether the two have a number in common.
func (b bitset) meets(other bitset) bool {
	for i, word := range other {
		if b[i]&word != 0 {
			return true
		}
	}
	return false
}

// members are the numbers in the set, smallest first.
func (b bitset) members() []int {
	var all []int
	for i, word := range b {
		for ; word != 0; word &= word - 1 {
			all = append(all, i*64+bits.TrailingZeros64(word))
		}
	}
	return all
}
