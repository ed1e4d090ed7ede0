package iscsitest

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// security returns the answer of the security stage or a status.
func (s *login) security(in map[string]string) (out []string, status uint16) {
	t := s.target
	if methods := strings.Split(in["AuthMethod"], ","); in["AuthMethod"] != "" {
		out = append(out, "TargetPortalGroupTag=1")
		switch {
		case t.User != "" && slices.Contains(methods, "CHAP"):
			return append(out, "AuthMethod=CHAP"), 0
		case t.User == "" && slices.Contains(methods, "None"):
			return append(out, "AuthMethod=None"), 0
		}
		return nil, 0x0201
	}
	if algorithms := in["CHAP_A"]; algorithms != "" {
		if !slices.Contains(strings.Split(algorithms, ","), "5") {
			return []string{"CHAP_A=Reject"}, 0
		}
		s.challenge = []byte("0123456789abcdef")
		return []string{"CHAP_A=5", "CHAP_I=200", "CHAP_C=" + s.binary(s.challenge)}, 0
	}
	answer := in["CHAP_R"]
	if answer == "" {
		return nil, 0
	}
	want := sum(200, t.Password, s.challenge)
	got, err := hex.DecodeString(strings.TrimPrefix(answer, "0x"))
	if err != nil || !bytes.Equal(got, want) || in["CHAP_N"] != t.User {
		return nil, 0x0201
	}
	s.proved = true
	if in["CHAP_C"] == "" {
		return nil, 0
	}
	challenge, err := hex.DecodeString(strings.TrimPrefix(in["CHAP_C"], "0x"))
	id, idErr := strconv.Atoi(in["CHAP_I"])
	if err != nil || idErr != nil {
		return nil, 0x020b
	}
	if t.UserIn == "" {
		return nil, 0
	}
	return []string{"CHAP_N=" + t.UserIn, "CHAP_R=" + s.binary(sum(byte(id), t.PasswordIn, challenge))}, 0
}

func sum(id byte, secret string, challenge []byte) []byte {
	h := md5.Sum(slices.Concat([]byte{id}, []byte(secret), challenge))
	return h[:]
}

func (s *login) binary(b []byte) string {
	if s.target.Base64 {
		return "0b" + base64.StdEncoding.EncodeToString(b)
	}
	return "0X" + strings.ToUpper(hex.EncodeToString(b))
}

// operational echoes what is offered, the first value of a list, and what Reply
// says.
func (s *login) operational(in map[string]string) (out []string) {
	for _, k := range slices.Sorted(maps.Keys(in)) {
		v, ok := s.target.Reply[k]
		if !ok {
			v, _, _ = strings.Cut(in[k], ",")
		}
		if v != "" {
			out = append(out, k+"="+v)
		}
	}
	if len(in) == 0 {
		return nil
	}
	for k, v := range s.target.Reply {
		if _, ok := in[k]; !ok && v != "" {
			out = append(out, k+"="+v)
		}
	}
	return out
}
