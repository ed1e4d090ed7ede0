package iscsi_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sidusboot/sidusboot/iscsi"
	"github.com/sidusboot/sidusboot/iscsi/iscsitest"
)

// A disk is what a fake target keeps.
type disk struct {
	mu       sync.Mutex
	data     [512]byte
	commands int
}

func (d *disk) scsi(cdb, data []byte, write bool) (byte, []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.commands++
	switch {
	case cdb[0] == 0xff:
		return 2, []byte{0x70, 0, 5}
	case write:
		copy(d.data[:], data)
	default:
		copy(data, d.data[:])
	}
	return 0, nil
}

// pings are what a target may send between: a ping that wants an answer, one that
// wants none, sense data that was not asked for.
func pings(iscsi.PDU) []iscsi.PDU {
	var ask, tell, async iscsi.PDU
	ask.Header[0], tell.Header[0], async.Header[0] = iscsi.OpNopIn, iscsi.OpNopIn, iscsi.OpAsync
	for _, p := range []*iscsi.PDU{&ask, &tell, &async} {
		p.Header.SetUint32(16, 0xffffffff)
	}
	ask.Header.SetUint32(20, 77)
	tell.Header.SetUint32(20, 0xffffffff)
	return []iscsi.PDU{ask, tell, async}
}

// A session logs in at a target that carries out commands, and asks it beside
// the kernel.
func TestAsk(t *testing.T) {
	for name, target := range map[string]*iscsitest.Target{
		"plain":             {},
		"in parts":          {Chunk: 100},
		"nothing immediate": {Reply: map[string]string{"ImmediateData": "No", "InitialR2T": "Yes"}, Chunk: 300},
		"short PDUs":        {Reply: map[string]string{"MaxRecvDataSegmentLength": "512", "FirstBurstLength": "512"}},
		"pings":             {Before: pings},
		"CHAP":              {User: "node", Password: "secret-of-node-1"},
	} {
		t.Run(name, func(t *testing.T) {
			d := &disk{}
			target.SCSI = d.scsi
			k, _ := newKernel(t)
			in := node()
			in.User, in.Password = target.User, iscsi.Secret(target.Password)
			in.Portals = []iscsi.Portal{serve(t, target)}
			s, err := k.Connect(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			first := target.ISID()
			k.Calls()
			text := bytes.Repeat([]byte("sidus"), 100)
			got := make([]byte, 500)
			err = s.Ask(t.Context(), func(u *iscsi.LogicalUnit) error {
				if status, _, err := u.Execute([]byte{0x2a}, text, true); err != nil || status != 0 {
					t.Errorf("write: status %d, %v", status, err)
				}
				if status, _, err := u.Execute([]byte{0x28}, got, false); err != nil || status != 0 {
					t.Errorf("read: status %d, %v", status, err)
				}
				if status, sense, err := u.Execute([]byte{0xff}, got, false); err != nil || status != 2 || len(sense) != 3 || sense[2] != 5 {
					t.Errorf("an illegal command: status %d, sense %v, %v", status, sense, err)
				}
				return os.ErrExist
			})
			if !errors.Is(err, os.ErrExist) || !bytes.Equal(got, text) {
				t.Errorf("%v, read %.20q", err, got)
			}
			if target.ISID() == first {
				t.Error("the second session has the first one's ISID, and ends it")
			}
			if calls := k.Calls(); len(calls) > 0 {
				t.Errorf("the kernel was asked for %v", calls)
			}
		})
	}
}

// A target that answers wrongly gives an error, in time, and no data from
// elsewhere.
func TestAskHostile(t *testing.T) {
	answer := func(op byte, set func(h *iscsi.Header)) func(iscsi.PDU) []iscsi.PDU {
		return func(request iscsi.PDU) []iscsi.PDU {
			p := iscsi.PDU{Data: []byte("0123456789")}
			p.Header[0] = op
			p.Header.SetUint32(16, request.Header.Uint32(16))
			if set != nil {
				set(&p.Header)
			}
			return []iscsi.PDU{p}
		}
	}
	for name, tt := range map[string]struct {
		before func(iscsi.PDU) []iscsi.PDU
		want   string
	}{
		"beyond the end":    {answer(0x25, func(h *iscsi.Header) { h.SetUint32(40, 0xfffffffc) }), "of an answer of 16"},
		"another task":      {answer(0x25, func(h *iscsi.Header) { h.SetUint32(16, 99) }), "where 0x1 is open"},
		"wants data":        {answer(0x31, nil), "at 0 of 16"},
		"unknown opcode":    {answer(0x3e, nil), "opcode 0x3e"},
		"rejects":           {answer(iscsi.OpReject, nil), "opcode 0x3f"},
		"asks for a logout": {answer(iscsi.OpAsync, func(h *iscsi.Header) { h[36] = 1 }), "asks for a new login"},
		"cannot":            {answer(0x21, func(h *iscsi.Header) { h[2] = 1 }), "response 0x01"},
		"not finished": {func(iscsi.PDU) (all []iscsi.PDU) {
			for range 2000 {
				all = append(all, pings(iscsi.PDU{})[1])
			}
			return all
		}, "not finished after"},
	} {
		t.Run(name, func(t *testing.T) {
			k, _ := newKernel(t)
			in := node()
			in.Portals = []iscsi.Portal{serve(t, &iscsitest.Target{SCSI: (&disk{}).scsi, Before: tt.before})}
			s, err := k.Connect(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			err = s.Ask(t.Context(), func(u *iscsi.LogicalUnit) error {
				_, _, err := u.Execute([]byte{0x28}, make([]byte, 16), false)
				return err
			})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	k, _ := newKernel(t)
	in := node()
	in.Portals = []iscsi.Portal{serve(t, &iscsitest.Target{})} // Logs in and hangs up.
	s, err := k.Connect(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Ask(t.Context(), func(u *iscsi.LogicalUnit) error {
		_, _, err := u.Execute([]byte{0x28}, make([]byte, 16), false)
		return err
	}); err == nil {
		t.Error("an answer came from nowhere")
	}
}

// Before the kernel may send what it has held back, the owner has a say.
func TestRecoverAdmits(t *testing.T) {
	d := &disk{}
	target := &iscsitest.Target{SCSI: d.scsi, OneLogin: true}
	k, root := newKernel(t)
	in := node()
	in.Portals = []iscsi.Portal{serve(t, target)}
	judged := errors.New("another node has it")
	asked := 0
	in.Admit = func(u *iscsi.LogicalUnit) error {
		asked++
		if status, _, err := u.Execute([]byte{0x28}, make([]byte, 16), false); err != nil || status != 0 {
			t.Errorf("status %d, %v", status, err)
		}
		return judged
	}
	s, err := k.Connect(t.Context(), in)
	if err != nil || asked != 0 {
		t.Fatalf("%v, asked %d times at the first login", err, asked)
	}
	k.Break()
	k.Calls()
	var admit *iscsi.AdmitError
	if err := s.Recover(t.Context()); !errors.As(err, &admit) || !errors.Is(err, judged) {
		t.Errorf("got %v", err)
	}
	for _, call := range k.Calls() {
		if call == start {
			t.Error("the connection was started")
		}
	}
	// A disk that the kernel has given up meanwhile comes back as well.
	lun := filepath.Join(root, "sys/class/iscsi_session/session5/device/target2:0:0/2:0:0:1")
	if err := os.MkdirAll(lun, 0o755); err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(lun, "state")
	if err := os.WriteFile(state, []byte("offline\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	judged = nil
	if err := s.Recover(t.Context()); err != nil || asked != 2 || s.AdmitSkipped() != nil {
		t.Errorf("got %v, asked %d times, %v", err, asked, s.AdmitSkipped())
	}
	if calls := k.Calls(); calls[len(calls)-1] != start {
		t.Errorf("got %v", calls)
	}
	if b, err := os.ReadFile(state); err != nil || string(b) != "running" {
		t.Errorf("the disk is %s, %v", b, err)
	}
}

// A target that lets in one session of a node only is not given up for that.
func TestRecoverUnasked(t *testing.T) {
	var first [6]byte
	target := &iscsitest.Target{}
	target.Mutate = func(p *iscsi.PDU) {
		if isid := target.ISID(); isid != first {
			p.Header.SetUint16(36, 0x0206)
		}
	}
	k, _ := newKernel(t)
	in := node()
	in.Portals = []iscsi.Portal{serve(t, target)}
	in.Admit = func(*iscsi.LogicalUnit) error { return errors.New("nobody can ask") }
	first = iscsi.NodeISID(in.Initiator)
	s, err := k.Connect(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	k.Break()
	if err := s.Recover(t.Context()); err != nil || s.AdmitSkipped() == nil {
		t.Errorf("got %v, unasked %v", err, s.AdmitSkipped())
	}
}

// Portals that accept and stay silent do not keep the next one from its turn.
func TestSilentPortals(t *testing.T) {
	k, _ := newKernel(t)
	in := node()
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0") // accepts by its backlog, says nothing
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		portal, _ := iscsi.ParsePortal(l.Addr().String())
		in.Portals = append(in.Portals, portal)
	}
	in.Portals = append(in.Portals, serve(t, &iscsitest.Target{}))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if _, err := k.Connect(ctx, in); err != nil {
		t.Errorf("the third portal, which answers, was not reached: %v", err)
	}
}

// LIO takes one login after the other: while a connection is open that has not
// logged in, the next one waits. A node that comes back must not wait for itself.
func TestRecoverOneByOne(t *testing.T) {
	target := &iscsitest.Target{SCSI: (&disk{}).scsi}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if target.Serve(c) == nil { // No other connection is served meanwhile.
				go target.Commands(c)
			}
		}
	}()
	portal, err := iscsi.ParsePortal(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	k, _ := newKernel(t)
	in := node()
	in.Portals = []iscsi.Portal{portal}
	in.Admit = func(u *iscsi.LogicalUnit) error {
		_, _, err := u.Execute([]byte{0x28}, make([]byte, 16), false)
		return err
	}
	s, err := k.Connect(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	k.Break()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := s.Recover(ctx); err != nil || s.AdmitSkipped() != nil {
		t.Errorf("got %v, unasked %v", err, s.AdmitSkipped())
	}
}
