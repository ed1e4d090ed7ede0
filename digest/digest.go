// Package digest computes MD5, SHA-1, SHA-256 and SHA3-256 of short texts: what
// CHAP takes, and what a node's own names are made of.
//
// The standard library's crypto/sha256 and the like would do the same. Each of
// them brings the module that is validated by FIPS 140, with AES, its self-tests and a
// generator of random numbers, which together are a fortieth of /init. What is here is
// short because it is neither fast nor a stream; its tests compare it with the standard
// library's. It is not for large inputs.
package digest

import (
	"encoding/binary"
	"math/bits"
)

// blockSize is that of MD5, SHA-1 and SHA-256.
const blockSize = 64

// pad appends a one bit, zeros and the length in bits, so that whole blocks result
// (RFC 1321, sections 3.1 and 3.2; FIPS 180-4, section 5.1.1).
func pad(b []byte, order binary.AppendByteOrder) []byte {
	length := uint64(len(b)) * 8
	b = append(append([]byte(nil), b...), 0x80)
	for len(b)%blockSize != blockSize-8 {
		b = append(b, 0)
	}
	return order.AppendUint64(b, length)
}

// merkleDamgard runs step over the padded blocks of b, each as 16 words, and
// returns the state.
func merkleDamgard(b []byte, order interface {
	binary.ByteOrder
	binary.AppendByteOrder
}, state []uint32, step func(state []uint32, block *[16]uint32)) []byte {
	var block [16]uint32
	for b = pad(b, order); len(b) > 0; b = b[blockSize:] {
		for i := range block {
			block[i] = order.Uint32(b[4*i:])
		}
		step(state, &block)
	}
	var sum []byte
	for _, word := range state {
		sum = order.AppendUint32(sum, word)
	}
	return sum
}

// MD5 is the digest of RFC 1321.
func MD5(b []byte) []byte {
	return merkleDamgard(b, binary.LittleEndian, []uint32{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}, md5Step)
}

// md5Shifts are those of the four rounds, md5Sines what is added in each step: the
// integer parts of 2^32 times abs(sin(i+1)).
var (
	md5Shifts = [4][4]int{{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}}
	md5Sines  = [64]uint32{
		0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
		0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
		0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
		0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
		0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
		0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
		0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
		0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
	}
)

func md5Step(state []uint32, block *[16]uint32) {
	a, b, c, d := state[0], state[1], state[2], state[3]
	for i := range 64 {
		var f uint32
		var at int
		switch i / 16 {
		case 0:
			f, at = b&c|^b&d, i
		case 1:
			f, at = d&b|^d&c, 5*i+1
		case 2:
			f, at = b^c^d, 3*i+5
		default:
			f, at = c^(b|^d), 7*i
		}
		f += a + md5Sines[i] + block[at%16]
		a, b, c, d = d, b+bits.RotateLeft32(f, md5Shifts[i/16][i%4]), b, c
	}
	state[0], state[1], state[2], state[3] = state[0]+a, state[1]+b, state[2]+c, state[3]+d
}

// SHA1 is the digest of FIPS 180-4, section 6.1.
func SHA1(b []byte) []byte {
	return merkleDamgard(b, binary.BigEndian, []uint32{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0}, sha1Step)
}

func sha1Step(state []uint32, block *[16]uint32) {
	var w [80]uint32
	copy(w[:], block[:])
	for i := 16; i < len(w); i++ {
		w[i] = bits.RotateLeft32(w[i-3]^w[i-8]^w[i-14]^w[i-16], 1)
	}
	a, b, c, d, e := state[0], state[1], state[2], state[3], state[4]
	for i, word := range w {
		var f uint32
		switch i / 20 {
		case 0:
			f = (b&c | ^b&d) + 0x5a827999
		case 1:
			f = (b ^ c ^ d) + 0x6ed9eba1
		case 2:
			f = (b&c | b&d | c&d) + 0x8f1bbcdc
		default:
			f = (b ^ c ^ d) + 0xca62c1d6
		}
		a, b, c, d, e = bits.RotateLeft32(a, 5)+f+e+word, a, bits.RotateLeft32(b, 30), c, d
	}
	for i, word := range [...]uint32{a, b, c, d, e} {
		state[i] += word
	}
}

// SHA256 is the digest of FIPS 180-4, section 6.2.
func SHA256(b []byte) []byte {
	return merkleDamgard(b, binary.BigEndian, []uint32{
		0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
	}, sha256Step)
}

// sha256Roots are the fractional parts of the cube roots of the first 64 primes.
var sha256Roots = [64]uint32{
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
}

func sha256Step(state []uint32, block *[16]uint32) {
	turn := func(x uint32, a, b int) uint32 { return bits.RotateLeft32(x, -a) ^ bits.RotateLeft32(x, -b) }
	var w [64]uint32
	copy(w[:], block[:])
	for i := 16; i < len(w); i++ {
		x, y := w[i-15], w[i-2]
		w[i] = w[i-16] + (turn(x, 7, 18) ^ x>>3) + w[i-7] + (turn(y, 17, 19) ^ y>>10)
	}
	s := [8]uint32(state)
	for i, word := range w {
		a, e := s[0], s[4]
		t1 := s[7] + (turn(e, 6, 11) ^ bits.RotateLeft32(e, -25)) + (e&s[5] ^ ^e&s[6]) + sha256Roots[i] + word
		t2 := (turn(a, 2, 13) ^ bits.RotateLeft32(a, -22)) + (a&s[1] ^ a&s[2] ^ s[1]&s[2])
		s = [8]uint32{t1 + t2, s[0], s[1], s[2], s[3] + t1, s[4], s[5], s[6]}
	}
	for i, word := range s {
		state[i] += word
	}
}

// sha3Rate is how many bytes SHA3-256 takes at a time.
const sha3Rate = 136

// SHA3256 is SHA3-256 of FIPS 202.
func SHA3256(b []byte) []byte {
	b = append(append([]byte(nil), b...), 0x06)
	for len(b)%sha3Rate != 0 {
		b = append(b, 0)
	}
	b[len(b)-1] |= 0x80
	var state [25]uint64
	for ; len(b) > 0; b = b[sha3Rate:] {
		for i := range sha3Rate / 8 {
			state[i] ^= binary.LittleEndian.Uint64(b[8*i:])
		}
		keccak(&state)
	}
	var sum []byte
	for _, word := range state[:4] {
		sum = binary.LittleEndian.AppendUint64(sum, word)
	}
	return sum
}

// keccak is Keccak-f[1600] (FIPS 202, section 3.3), the state's word x, y at x+5y. The
// constants of iota and the offsets of rho come out of their definitions: a shift register
// and a walk through the state.
func keccak(a *[25]uint64) {
	register := uint8(1)
	for range 24 {
		var c [5]uint64 // theta
		for x := range c {
			c[x] = a[x] ^ a[x+5] ^ a[x+10] ^ a[x+15] ^ a[x+20]
		}
		for i := range a {
			a[i] ^= c[(i+4)%5] ^ bits.RotateLeft64(c[(i+1)%5], 1)
		}
		word, x, y := a[1], 1, 0 // rho and pi
		for t := range 24 {
			x, y = y, (2*x+3*y)%5
			at := x + 5*y
			a[at], word = bits.RotateLeft64(word, (t+1)*(t+2)/2), a[at]
		}
		for row := 0; row < len(a); row += 5 { // chi
			before := [5]uint64(a[row : row+5])
			for x := range before {
				a[row+x] = before[x] ^ ^before[(x+1)%5]&before[(x+2)%5]
			}
		}
		for j := range 7 { // iota
			if register&1 != 0 {
				a[0] ^= 1 << (1<<j - 1)
			}
			over := register >> 7
			register <<= 1
			if over != 0 {
				register ^= 0x71
			}
		}
	}
}
