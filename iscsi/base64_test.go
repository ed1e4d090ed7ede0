package iscsi

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
)

// What is decoded is what the standard library decodes.
func TestDecodeBase64(t *testing.T) {
	var all []byte
	for i := range 256 {
		all = append(all, byte(i*167))
	}
	for n := range all {
		for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding} {
			text := e.EncodeToString(all[:n])
			if got, err := decodeBase64(text); err != nil || !bytes.Equal(got, all[:n]) {
				t.Errorf("%q: %x, %v, want %x", text, got, err, all[:n])
			}
		}
	}
	for _, text := range []string{"A", "AAAAA", "AA*A", "AA==A", "AA A", "\xff\xff"} {
		if b, err := decodeBase64(text); err == nil {
			t.Errorf("%q: %x and no error", text, b)
		}
	}
}

func FuzzDecodeBase64(f *testing.F) {
	f.Add("YWI=")
	f.Fuzz(func(t *testing.T, text string) {
		want, wantErr := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
		if strings.ContainsAny(text, "\r\n") {
			return // The library leaves them out.
		}
		if got, err := decodeBase64(text); (err == nil) != (wantErr == nil) || err == nil && !bytes.Equal(got, want) {
			t.Errorf("%q: %x, %v, want %x, %v", text, got, err, want, wantErr)
		}
	})
}
