package iscsi

import "strings"

// decodeBase64 decodes base64 (RFC 4648, section 4) with or without its padding.
// encoding/base64 has four encodings and makes /init 8 kB larger.
func decodeBase64(text string) ([]byte, error) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	text = strings.TrimRight(text, "=")
	if len(text)%4 == 1 {
		return nil, protocolErrorf("base64 of %d characters", len(text))
	}
	var b []byte
	bits, have := 0, 0
	for i := range len(text) {
		digit := strings.IndexByte(alphabet, text[i])
		if digit < 0 {
			return nil, protocolErrorf("%q in base64", text[i])
		}
		bits, have = bits<<6|digit, have+6
		if have >= 8 {
			have -= 8
			b = append(b, byte(bits>>have))
			bits &= 1<<have - 1
		}
	}
	return b, nil
}
