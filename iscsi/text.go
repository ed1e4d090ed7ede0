package iscsi

import (
	"bytes"
	"strings"
)

// A Pair is one key=value of a login or text PDU (RFC 7143, section 6.1).
type Pair struct{ Key, Value string }

const (
	maxKey   = 63
	maxValue = 255 // for what is no binary value and no list
	// maxText is how much text a whole answer may have, over all PDUs that it
	// is split into. The longest honest ones carry a CHAP challenge of 1024 bytes.
	maxText  = 64 << 10
	maxPairs = 256
)

// AppendText appends pairs in their wire form, each ended by a NUL.
func AppendText(b []byte, pairs []Pair) []byte {
	for _, p := range pairs {
		b = append(b, p.Key...)
		b = append(b, '=')
		b = append(b, p.Value...)
		b = append(b, 0)
	}
	return b
}

// ParseText reads pairs. A value may contain '=' (base64 does). More than one
// NUL between pairs and none after the last are tolerated.
func ParseText(b []byte) ([]Pair, error) {
	if len(b) > maxText {
		return nil, protocolErrorf("%d bytes of text", len(b))
	}
	var pairs []Pair
	for len(b) > 0 {
		var item []byte
		item, b, _ = bytes.Cut(b, []byte{0})
		if len(item) == 0 {
			continue
		}
		key, value, ok := strings.Cut(string(item), "=")
		if !ok || !isKey(key) {
			return nil, protocolErrorf("%.40q is not key=value", item)
		}
		if len(pairs) == maxPairs {
			return nil, protocolErrorf("more than %d keys", maxPairs)
		}
		pairs = append(pairs, Pair{key, value})
	}
	return pairs, nil
}

// isKey tells what may stand before '=': letters, digits and a few signs. That
// a key starts with a capital is not insisted on.
func isKey(key string) bool {
	for _, r := range key {
		if !isAlnum(r) && !strings.ContainsRune("-.+@_/#", r) {
			return false
		}
	}
	return key != "" && len(key) <= maxKey
}

// split cuts text into segments of at most limit bytes; a pair may go on in the
// next segment (RFC 7143, section 7.2). No text is one empty segment.
func split(text []byte, limit int) [][]byte {
	var segments [][]byte
	for len(text) > limit {
		segments = append(segments, text[:limit])
		text = text[limit:]
	}
	return append(segments, text)
}

// value returns a key's value.
func value(pairs []Pair, key string) (string, bool) {
	for _, p := range pairs {
		if p.Key == key {
			return p.Value, true
		}
	}
	return "", false
}

// without leaves some keys out.
func without(pairs []Pair, keys ...string) []Pair {
	var rest []Pair
next:
	for _, p := range pairs {
		for _, key := range keys {
			if p.Key == key {
				continue next
			}
		}
		rest = append(rest, p)
	}
	return rest
}

func withoutCHAP(pairs []Pair) []Pair {
	return without(pairs, "CHAP_A", "CHAP_I", "CHAP_C", "CHAP_N", "CHAP_R")
}
