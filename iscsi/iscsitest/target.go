// Package iscsitest is the login half of an iSCSI target, for tests. It shares
// the PDU format with package iscsi and nothing else: text, CHAP and the stages
// are written again here, so that a mistake does not cancel itself out.
package iscsitest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/sidusboot/sidusboot/iscsi"
)

// A Target answers logins. The zero value lets everybody in.
type Target struct {
	// Name, where set, is the only one served.
	Name string
	// User and Password are the node's; UserIn and PasswordIn the target's own.
	User, Password     string
	UserIn, PasswordIn string
	// Base64 makes binary values base64.
	Base64 bool
	// Reply replaces or adds keys of the operational answer; an empty value
	// leaves a key out.
	Reply map[string]string
	// Status answers the first request with a class and a detail.
	Status uint16
	// Redirect is the TargetAddress for a status of class 1.
	Redirect string
	// Split is how many bytes of text an answer may have; the rest follows with
	// the C bit. Zero does not split.
	Split int
	// Slow takes a second round for each stage before it goes on.
	Slow bool
	// StatSN is the first one.
	StatSN uint32
	// SCSI, where set, carries out commands after the login: it returns a status
	// and sense data, or fills data when it is no write.
	SCSI func(cdb, data []byte, write bool) (status byte, sense []byte)
	// Before, where set, is sent ahead of each answer to a command.
	Before func(request iscsi.PDU) []iscsi.PDU
	// Chunk is how many bytes of data a Data-In or an R2T may have. Zero does not
	// split.
	Chunk int
	// OneLogin takes the next connection when the login on the one before is over,
	// as LIO does (iscsi_target_login_thread).
	OneLogin bool
	// Mutate, where set, changes each answer before it is sent.
	Mutate func(p *iscsi.PDU)

	mu   sync.Mutex
	seen []string
	isid [6]byte
}

// Seen are the keys that initiators sent, as key=value, in order.
func (t *Target) Seen() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.seen)
}

// ISID is that of the last request.
func (t *Target) ISID() [6]byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.isid
}

// Listen serves one login after the other until the listener is closed, and
// answers logouts after them.
func (t *Target) Listen(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		served := make(chan struct{})
		go func() {
			defer c.Close()
			err := t.Serve(c)
			close(served)
			if err == nil {
				t.afterLogin(c)
			}
		}()
		if t.OneLogin {
			<-served
		}
	}
}

// Serve handles one login. An error is the initiator's fault or a refusal.
func (t *Target) Serve(rw io.ReadWriter) error {
	s := &login{target: t, rw: rw, statSN: t.StatSN}
	for {
		request, text, err := s.read()
		if err != nil {
			return err
		}
		done, err := s.answer(request, text)
		if done || err != nil {
			return err
		}
	}
}

// A login is one.
type login struct {
	target *Target
	rw     io.ReadWriter
	statSN uint32

	started, proved bool
	challenge       []byte
	slowed          [2]bool
}

var errRefused = errors.New("login refused")

// read collects a request over its C bits.
func (s *login) read() (iscsi.PDU, map[string]string, error) {
	var text []byte
	for {
		p, err := iscsi.ReadPDU(s.rw, 8192)
		if err != nil {
			return p, nil, err
		}
		if p.Header[0] != 0x43 {
			return p, nil, fmt.Errorf("first byte %#x", p.Header[0])
		}
		if s.started && p.Header.Uint32(28) != s.statSN {
			return p, nil, fmt.Errorf("ExpStatSN %d, want %d", p.Header.Uint32(28), s.statSN)
		}
		s.started = true
		text = append(text, p.Data...)
		if p.Header[1]&0x40 == 0 {
			keys := map[string]string{}
			s.target.mu.Lock()
			copy(s.target.isid[:], p.Header[8:14])
			for item := range bytes.SplitSeq(text, []byte{0}) {
				if k, v, ok := strings.Cut(string(item), "="); ok {
					keys[k] = v
					s.target.seen = append(s.target.seen, string(item))
				}
			}
			s.target.mu.Unlock()
			return p, keys, nil
		}
		if err := s.write(p, nil, p.Header[1]&0x0c, 0); err != nil {
			return p, nil, err
		}
	}
}

func (s *login) write(request iscsi.PDU, text []byte, flags byte, status uint16) error {
	answer := iscsi.PDU{Data: text}
	h := &answer.Header
	h[0], h[1] = 0x23, flags
	copy(h[8:14], request.Header[8:14])
	if flags&0x83 == 0x83 {
		h.SetUint16(14, 7) // TSIH
	}
	h.SetUint32(16, request.Header.Uint32(16))
	h.SetUint32(24, s.statSN)
	h.SetUint16(36, status)
	s.statSN++
	if s.target.Mutate != nil {
		s.target.Mutate(&answer)
	}
	_, err := s.rw.Write(answer.Append(nil))
	return err
}

// send writes text, split where that is asked for.
func (s *login) send(request iscsi.PDU, text []byte, flags byte) error {
	for limit := s.target.Split; limit > 0 && len(text) > limit; text = text[limit:] {
		if err := s.write(request, text[:limit], 0x40|flags&0x0c, 0); err != nil {
			return err
		}
		p, err := iscsi.ReadPDU(s.rw, 8192)
		if err != nil {
			return err
		}
		if len(p.Data) != 0 || p.Header[1]&0x40 != 0 {
			return errors.New("the C bit is not answered with an empty PDU")
		}
	}
	return s.write(request, text, flags, 0)
}

func (s *login) refuse(request iscsi.PDU, status uint16) (bool, error) {
	return true, errors.Join(errRefused, s.write(request, nil, request.Header[1]&0x0c, status))
}

func (s *login) answer(request iscsi.PDU, in map[string]string) (done bool, err error) {
	t := s.target
	if status := t.Status; status != 0 {
		var text []byte
		if t.Redirect != "" {
			text = []byte("TargetAddress=" + t.Redirect + "\x00")
		}
		return true, errors.Join(errRefused, s.write(request, text, request.Header[1]&0x0c, status))
	}
	if name := in["TargetName"]; name != "" && t.Name != "" && name != t.Name {
		return s.refuse(request, 0x0203)
	}
	var out []string
	flags := request.Header[1] & 0x8f
	stage := flags >> 2 & 3
	if stage == 0 {
		var status uint16
		if out, status = s.security(in); status != 0 {
			return s.refuse(request, status)
		}
		if t.User != "" && !s.proved {
			flags &= 0x0c
		}
	} else {
		if t.User != "" && !s.proved {
			return s.refuse(request, 0x0201)
		}
		out = s.operational(in)
	}
	if t.Slow && flags&0x80 != 0 && !s.slowed[stage&1] {
		s.slowed[stage&1] = true
		flags &= 0x0c
	}
	text := []byte(strings.Join(append(out, ""), "\x00"))
	return flags&0x83 == 0x83, s.send(request, text, flags)
}
