package iscsi

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// The answers are those of `printf '\007secretCHALLENGE' | openssl dgst`.
func TestResponse(t *testing.T) {
	for algorithm, want := range map[Algorithm]string{
		MD5:     "522b0e1c25c9194d4a99dc3a6d2fb1fe",
		SHA1:    "d7a3973c8e4f6bb0fe0f58f1619609abd64e1c1b",
		SHA256:  "2932e9842590ff48287b164aa9065b15c7197a2ed5d352ed4f2c427be1a816cf",
		SHA3256: "1c8badb33b11bf03c9b43cbeafefe796e16ea1ef80449ce95dca340e2ff61ba9",
	} {
		t.Run(fmt.Sprint(algorithm), func(t *testing.T) {
			got := hex.EncodeToString(algorithm.response(7, "secret", []byte("CHALLENGE")))
			if got != want {
				t.Errorf("%d: got %s, want %s", algorithm, got, want)
			}
		})
	}
}

func TestDecodeBinary(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want []byte
	}{
		{"0x0aFF", []byte{0x0a, 0xff}},
		{"0Xabc", []byte{0x0a, 0xbc}},
		{"0bYWI=", []byte("ab")},
		{"0BYWI", []byte("ab")},
		{"0x" + strings.Repeat("00", maxBinary), make([]byte, maxBinary)},
		{"0x" + strings.Repeat("00", maxBinary+1), nil},
		{"", nil}, {"0x", nil}, {"0b", nil}, {"1234", nil}, {"0xzz", nil}, {"0b****", nil},
	} {
		t.Run(fmt.Sprintf("%.40q", tt.in), func(t *testing.T) {
			got, err := decodeBinary(tt.in)
			if !bytes.Equal(got, tt.want) || (err != nil) != (tt.want == nil) {
				t.Errorf("%.20q: got %x, %v", tt.in, got, err)
			}
		})
	}
}

func TestRespondRefuses(t *testing.T) {
	target := &Target{User: "u", Password: "p", CHAP: []Algorithm{MD5, SHA256}}
	for name, in := range map[string][]Pair{
		"nothing":       nil,
		"not offered":   {{"CHAP_A", "6"}, {"CHAP_I", "1"}, {"CHAP_C", "0x01"}},
		"no id":         {{"CHAP_A", "5"}, {"CHAP_C", "0x01"}},
		"id too large":  {{"CHAP_A", "5"}, {"CHAP_I", "256"}, {"CHAP_C", "0x01"}},
		"id negative":   {{"CHAP_A", "5"}, {"CHAP_I", "-1"}, {"CHAP_C", "0x01"}},
		"no challenge":  {{"CHAP_A", "5"}, {"CHAP_I", "1"}},
		"bad challenge": {{"CHAP_A", "5"}, {"CHAP_I", "1"}, {"CHAP_C", "01"}},
	} {
		t.Run(name, func(t *testing.T) {
			if out, err := (&chap{target: target}).respond(in); err == nil || out != nil {
				t.Errorf("%s: got %q, %v", name, out, err)
			}
		})
	}
	if out, err := (&chap{target: target}).respond([]Pair{{"CHAP_A", "7"}, {"CHAP_I", "0x10"}, {"CHAP_C", "0x01"}}); err != nil || len(out) != 2 {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestSecrets(t *testing.T) {
	target := Target{Name: "iqn.2013-09.org.example:t", Initiator: "iqn.2013-09.org.example:n",
		User: "u", Password: "hush-hush", UserIn: "v", PasswordIn: "hush-hush-in"}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%t"} {
		t.Run(verb, func(t *testing.T) {
			if text := fmt.Sprintf(verb, target) + fmt.Sprintf(verb, &target) + fmt.Sprintf(verb, target.Password); strings.Contains(text, "hush") || strings.Contains(text, "68757368") {
				t.Errorf("%s: %s", verb, text)
			}
		})
	}
	for name, change := range map[string]func(*Target){
		"equal":             func(t *Target) { t.PasswordIn = t.Password },
		"user alone":        func(t *Target) { t.Password = "" },
		"password alone":    func(t *Target) { t.User = "" },
		"mutual half":       func(t *Target) { t.PasswordIn = "" },
		"mutual alone":      func(t *Target) { t.User, t.Password = "", "" },
		"NUL":               func(t *Target) { t.Password = "hush\x00Name=x" },
		"too long":          func(t *Target) { t.Password = Secret(strings.Repeat("hush", 100)) },
		"unknown algorithm": func(t *Target) { t.CHAP = []Algorithm{4} },
		"name":              func(t *Target) { t.Name = "x" },
	} {
		t.Run(name, func(t *testing.T) {
			changed := target
			change(&changed)
			if _, err := changed.complete(); err == nil || strings.Contains(err.Error(), "hush") {
				t.Errorf("%s: got %v", name, err)
			}
		})
	}
	if _, err := target.complete(); err != nil {
		t.Error(err)
	}
}

func TestVerify(t *testing.T) {
	target := &Target{User: "u", Password: "p", UserIn: "v", PasswordIn: "q"}
	c := &chap{target: target, algorithm: MD5, id: 9, challenge: []byte("challenge"), answer: []byte("ours")}
	good := encodeBinary(MD5.response(9, "q", []byte("challenge")))
	for _, tt := range []struct {
		in []Pair
		ok bool
	}{
		{[]Pair{{"CHAP_N", "v"}, {"CHAP_R", good}}, true},
		{[]Pair{{"CHAP_N", "w"}, {"CHAP_R", good}}, false},
		{[]Pair{{"CHAP_N", "v"}, {"CHAP_R", "0x00"}}, false},
		{[]Pair{{"CHAP_N", "v"}, {"CHAP_R", encodeBinary(c.answer)}}, false},
		{[]Pair{{"CHAP_R", good}}, false},
		{nil, false},
	} {
		t.Run(fmt.Sprint(tt.in), func(t *testing.T) {
			err := c.verify(tt.in)
			if (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrAuthentication) {
				t.Errorf("%q: got %v", tt.in, err)
			}
		})
	}
}
