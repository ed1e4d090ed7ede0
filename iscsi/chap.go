package iscsi

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/digest"
)

// An Algorithm is a CHAP_A value (IANA, "iSCSI CHAP Algorithms" of RFC 7143).
type Algorithm uint8

// MD5 is what every target knows. tgt and IET mean SHA-1 by 7.
const (
	MD5     Algorithm = 5
	SHA1    Algorithm = 6
	SHA256  Algorithm = 7
	SHA3256 Algorithm = 8
)

// hash is the algorithm's function, nil where there is none.
func (a Algorithm) hash() func([]byte) []byte {
	switch a {
	case MD5:
		return digest.MD5
	case SHA1:
		return digest.SHA1
	case SHA256:
		return digest.SHA256
	case SHA3256:
		return digest.SHA3256
	}
	return nil
}

// response is H(id, secret, challenge) (RFC 1994, section 4.1).
func (a Algorithm) response(id byte, secret Secret, challenge []byte) []byte {
	return a.hash()(slices.Concat([]byte{id}, []byte(secret), challenge))
}

// maxBinary is the longest binary value (RFC 7143, section 6.1).
const maxBinary = 1024

// decodeBinary reads 0x and hex digits or 0b and base64.
func decodeBinary(v string) ([]byte, error) {
	if len(v) > 2+2*maxBinary || len(v) < 3 {
		return nil, protocolErrorf("a binary value of %d characters", len(v))
	}
	var b []byte
	var err error
	switch prefix, rest := v[:2], v[2:]; prefix {
	case "0x", "0X":
		if len(rest)%2 == 1 {
			rest = "0" + rest
		}
		b, err = hex.DecodeString(rest)
	case "0b", "0B":
		b, err = decodeBase64(rest)
	default:
		return nil, protocolErrorf("a binary value does not start with 0x or 0b")
	}
	if err != nil || len(b) == 0 || len(b) > maxBinary {
		return nil, protocolErrorf("a binary value cannot be decoded")
	}
	return b, nil
}

func encodeBinary(b []byte) string { return "0x" + hex.EncodeToString(b) }

// A chap is one CHAP exchange (RFC 7143, section 12.1.3).
type chap struct {
	target    *Target
	algorithm Algorithm
	id        byte   // ours
	challenge []byte // ours
	answer    []byte // ours, to the target's challenge
}

// offer is the first step.
func (c *chap) offer() []Pair {
	texts := make([]string, len(c.target.CHAP))
	for i, a := range c.target.CHAP {
		texts[i] = strconv.Itoa(int(a))
	}
	return []Pair{{"CHAP_A", strings.Join(texts, ",")}}
}

// respond answers the target's challenge and, where the target is to prove
// itself as well, adds ours.
func (c *chap) respond(in []Pair) ([]Pair, error) {
	if err := c.choose(in); err != nil {
		return nil, err
	}
	id, err := chapID(in)
	if err != nil {
		return nil, err
	}
	text, ok := value(in, "CHAP_C")
	if !ok {
		return nil, protocolErrorf("no CHAP_C")
	}
	theirs, err := decodeBinary(text)
	if err != nil {
		return nil, fmt.Errorf("CHAP_C: %w", err)
	}
	c.answer = c.algorithm.response(id, c.target.Password, theirs)
	out := []Pair{{"CHAP_N", c.target.User}, {"CHAP_R", encodeBinary(c.answer)}}
	if c.target.UserIn == "" {
		return out, nil
	}
	random := make([]byte, 1+len(c.algorithm.hash()(nil)))
	// Not crypto/rand: that ends the process, here PID 1, where it fails.
	if n, err := unix.Getrandom(random, 0); err != nil || n != len(random) {
		return nil, fmt.Errorf("random bytes for a challenge: %d of %d: %w", n, len(random), err)
	}
	c.id, c.challenge = random[0], random[1:]
	if bytes.Equal(theirs, c.challenge) {
		return nil, errReflected
	}
	return append(out, Pair{"CHAP_I", strconv.Itoa(int(c.id))}, Pair{"CHAP_C", encodeBinary(c.challenge)}), nil
}

func (c *chap) choose(in []Pair) error {
	text, ok := value(in, "CHAP_A")
	if !ok {
		return protocolErrorf("no CHAP_A")
	}
	if text == "Reject" {
		return fmt.Errorf("%w: the target accepts none of the CHAP algorithms %s", ErrAuthentication, c.offer()[0].Value)
	}
	n, err := parseNumber(text)
	for _, a := range c.target.CHAP {
		if err == nil && uint32(a) == n {
			c.algorithm = a
			return nil
		}
	}
	return protocolErrorf("CHAP_A=%.40q was not offered", text)
}

func chapID(in []Pair) (byte, error) {
	text, ok := value(in, "CHAP_I")
	if !ok {
		return 0, protocolErrorf("no CHAP_I")
	}
	id, err := parseNumber(text)
	if err != nil || id > 255 {
		return 0, protocolErrorf("CHAP_I=%.40q is not between 0 and 255", text)
	}
	return byte(id), nil
}

// verify checks the target's answer to our challenge, if there was one.
func (c *chap) verify(in []Pair) error {
	if c.target.UserIn == "" {
		return nil
	}
	name, hasName := value(in, "CHAP_N")
	text, hasAnswer := value(in, "CHAP_R")
	if !hasName || !hasAnswer {
		return fmt.Errorf("%w: the target did not prove its password, although mutual CHAP is configured", ErrAuthentication)
	}
	answer, err := decodeBinary(text)
	if err != nil {
		return fmt.Errorf("CHAP_R: %w", err)
	}
	if bytes.Equal(answer, c.answer) {
		return errReflected
	}
	want := c.algorithm.response(c.id, c.target.PasswordIn, c.challenge)
	if !same(answer, want) || name != c.target.UserIn {
		return errMutual
	}
	return nil
}

// same compares in a time that does not depend on where a and b differ.
func same(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	var differ byte
	for i := range a {
		differ |= a[i] ^ b[i]
	}
	return differ == 0
}

var (
	errReflected = fmt.Errorf("%w: the target sends our own challenge or answer back", ErrAuthentication)
	errMutual    = fmt.Errorf("%w: the target does not have the user and password that it must prove", ErrAuthentication)
	errNoProof   = errors.New("the target did not ask this node for its password, although mutual CHAP is configured")
)
