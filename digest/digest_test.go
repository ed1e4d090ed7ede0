package digest

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"encoding/hex"
	"math/rand/v2"
	"testing"
)

// The digests are the standard library's, for each length up to several blocks.
func TestDigests(t *testing.T) {
	for name, d := range map[string]struct{ got, want func([]byte) []byte }{
		"MD5":      {MD5, func(b []byte) []byte { s := md5.Sum(b); return s[:] }},
		"SHA-1":    {SHA1, func(b []byte) []byte { s := sha1.Sum(b); return s[:] }},
		"SHA-256":  {SHA256, func(b []byte) []byte { s := sha256.Sum256(b); return s[:] }},
		"SHA3-256": {SHA3256, func(b []byte) []byte { s := sha3.Sum256(b); return s[:] }},
	} {
		random := rand.NewChaCha8([32]byte{1})
		for size := range 700 {
			b := make([]byte, size)
			if _, err := random.Read(b); err != nil {
				t.Fatal(err)
			}
			before := bytes.Clone(b)
			if got, want := d.got(b), d.want(b); !bytes.Equal(got, want) {
				t.Fatalf("%s of %d bytes %x: %x, want %x", name, size, b, got, want)
			}
			if !bytes.Equal(b, before) {
				t.Fatalf("%s changes its input of %d bytes", name, size)
			}
		}
	}
}

// And those of their specifications, for the text abc.
func TestSpecified(t *testing.T) {
	for _, c := range []struct {
		digest func([]byte) []byte
		want   string
	}{
		{MD5, "900150983cd24fb0d6963f7d28e17f72"},
		{SHA1, "a9993e364706816aba3e25717850c26c9cd0d89d"},
		{SHA256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		{SHA3256, "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"},
	} {
		t.Run(c.want, func(t *testing.T) {
			if got := hex.EncodeToString(c.digest([]byte("abc"))); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func FuzzDigests(f *testing.F) {
	f.Add([]byte("abc"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, s1, s2, s3 := md5.Sum(b), sha1.Sum(b), sha256.Sum256(b), sha3.Sum256(b)
		if !bytes.Equal(MD5(b), m[:]) || !bytes.Equal(SHA1(b), s1[:]) || !bytes.Equal(SHA256(b), s2[:]) || !bytes.Equal(SHA3256(b), s3[:]) {
			t.Errorf("of %x", b)
		}
	})
}
