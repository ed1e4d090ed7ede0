package iscsi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
)

func TestPDU(t *testing.T) {
	p := PDU{AHS: []byte{1, 2, 3, 4}, Data: []byte("hello")}
	p.Header[0] = OpLoginRequest | opImmediate
	p.Header.SetUint32(28, 0x01020304)
	b := p.Append(nil)
	if len(b) != 48+4+8 || b[4] != 1 || b[7] != 5 || !bytes.Equal(b[28:32], []byte{1, 2, 3, 4}) {
		t.Fatalf("got % x", b)
	}
	got, err := ReadPDU(bytes.NewReader(b), 5)
	if err != nil || !bytes.Equal(got.Data, p.Data) || !bytes.Equal(got.AHS, p.AHS) || got.Header.Opcode() != OpLoginRequest {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := ReadPDU(bytes.NewReader(b), 4); !errors.Is(err, ErrProtocol) {
		t.Errorf("too long: %v", err)
	}
	for n := range b {
		if _, err := ReadPDU(bytes.NewReader(b[:n]), 5); err == nil || (n > 0) != errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func TestText(t *testing.T) {
	pairs := []Pair{{"AuthMethod", "CHAP,None"}, {"CHAP_C", "0bYWI="}, {"Empty", ""}, {"X-org.example@1", "a=b=c"}}
	b := AppendText(nil, pairs)
	got, err := ParseText(b)
	if err != nil || !reflect.DeepEqual(got, pairs) {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := ParseText([]byte("\x00\x00a=b\x00\x00c=d")); err != nil || len(got) != 2 {
		t.Errorf("got %q, %v", got, err)
	}
	for _, bad := range []string{"a", "=b", "a b=c", strings.Repeat("k", 64) + "=v", strings.Repeat("a=b\x00", maxPairs+1), strings.Repeat("\x00", maxText+1)} {
		t.Run(fmt.Sprintf("%.40q", bad), func(t *testing.T) {
			if got, err := ParseText([]byte(bad)); !errors.Is(err, ErrProtocol) {
				t.Errorf("%.20q: got %q, %v", bad, got, err)
			}
		})
	}
}

func TestSplit(t *testing.T) {
	for _, n := range []int{0, 1, 8191, 8192, 8193, 20000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			text := bytes.Repeat([]byte("x"), n)
			segments := split(text, maxLoginData)
			if want := max(1, (n+maxLoginData-1)/maxLoginData); len(segments) != want {
				t.Errorf("%d bytes: %d segments, want %d", n, len(segments), want)
			}
			if !bytes.Equal(bytes.Join(segments, nil), text) {
				t.Errorf("%d bytes changed", n)
			}
		})
	}
}
