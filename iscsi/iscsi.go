// Package iscsi is an initiator on the kernel's iscsi_tcp: it logs in to one
// target, gives the connection to the kernel and finds the block device of one
// LUN. Later it logs in again when the connection broke, and logs out.
//
// The protocol is RFC 7143 (RFC 3720 before it). The kernel moves the data;
// logging in, naming and recovery are left to user space, over NETLINK_ISCSI
// (include/scsi/iscsi_if.h, drivers/scsi/scsi_transport_iscsi.c).
//
// It needs the modules iscsi_tcp, libiscsi_tcp, libiscsi, scsi_transport_iscsi
// and sd_mod, and one that provides crc32c: iscsi_tcp asks for it by name even
// when no digest is used, so it is in no modules.dep.
package iscsi

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// A Target is where the LUN is and how to log in to it.
type Target struct {
	// Name and Initiator are the iSCSI names of the two ends.
	Name, Initiator string
	// Portals are tried in order.
	Portals []Portal
	// Resolve looks up a portal's name, of a word or of a redirect. Without it
	// only addresses can be dialled.
	Resolve func(ctx context.Context, host string) (netip.Addr, error)
	// Admit, which may be nil, is asked in each Session.Recover before the kernel
	// sends anything that it has held back, over a session of its own. With an
	// error, which Recover returns in an *AdmitError, it goes on holding that back.
	Admit func(*LogicalUnit) error
	// LUN is the number as the kernel writes it.
	LUN uint64
	// ISID names the session among those of this initiator. A target that sees
	// the same one again drops the session that a crashed node left behind
	// (RFC 7143, section 6.3.5). The zero value stands for NodeISID(Initiator).
	ISID ISID

	// User and Password are what this node proves to the target; with no User
	// it proves nothing. UserIn and PasswordIn are what the target proves to
	// this node; with them a target that proves nothing is refused.
	User       string
	Password   Secret
	UserIn     string
	PasswordIn Secret
	// CHAP are the algorithms to offer, best first. Empty is MD5, the only one
	// that every target takes for what it is: tgt and IET say 7 for SHA-1.
	CHAP []Algorithm

	HeaderDigest, DataDigest Digest
	Timeouts                 Timeouts
}

// A Secret prints as three stars, whatever the verb.
type Secret string

// Format implements fmt.Formatter.
func (s Secret) Format(f fmt.State, _ rune) {
	if s == "" {
		fmt.Fprint(f, "none")
		return
	}
	fmt.Fprint(f, "***")
}

// A Digest says whether a CRC32C is wanted for headers or data.
type Digest uint8

// The zero value takes a digest from a target that insists on one.
const (
	DigestAllow   Digest = iota // None,CRC32C
	DigestPrefer                // CRC32C,None
	DigestRequire               // CRC32C
	DigestOff                   // None
)

// Timeouts are for the login and for the kernel. Zero is the default, which
// each comment names.
type Timeouts struct {
	Dial  time.Duration // 5s: the TCP connection to one portal
	Login time.Duration // 15s: the login over one connection
	// Recovery is how long I/O waits for Session.Recover before it fails. 24 h.
	// There is no "for ever": the kernel honours that even on its way down, and
	// a reboot hangs.
	Recovery time.Duration
	// Ping is how long a silent connection may be silent before the kernel
	// asks, and PingReply how long it waits for the answer. Off: nothing but a
	// Session.Recover helps against what a ping finds.
	Ping, PingReply time.Duration
	Command         time.Duration // 60s: one SCSI command on the disk
	Abort           time.Duration // 15s: an ABORT TASK
	Reset           time.Duration // 30s: a LOGICAL UNIT or TARGET RESET
	Logout          time.Duration // 5s: the target's answer to a logout
}

func (t Timeouts) withDefaults() Timeouts {
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&t.Dial, 5 * time.Second}, {&t.Login, 15 * time.Second}, {&t.Recovery, 24 * time.Hour},
		{&t.Command, time.Minute}, {&t.Abort, 15 * time.Second}, {&t.Reset, 30 * time.Second},
		{&t.Logout, 5 * time.Second},
	} {
		if *d.value <= 0 {
			*d.value = d.standard
		}
	}
	return t
}

// complete checks a Target and fills in what may be left out.
func (t Target) complete() (Target, error) {
	var err error
	if t.Name, err = NormalizeName(t.Name); err != nil {
		return t, fmt.Errorf("iscsi: target name %w", err)
	}
	if t.Initiator, err = NormalizeName(t.Initiator); err != nil {
		return t, fmt.Errorf("iscsi: initiator name %w", err)
	}
	if t.ISID == (ISID{}) {
		t.ISID = NodeISID(t.Initiator)
	}
	if len(t.CHAP) == 0 {
		t.CHAP = []Algorithm{MD5}
	}
	for _, a := range t.CHAP {
		if a.hash() == nil {
			return t, fmt.Errorf("iscsi: CHAP algorithm %d is none of 5, 6, 7, 8", a)
		}
	}
	t.Timeouts = t.Timeouts.withDefaults()
	return t, t.checkSecrets()
}

func (t Target) checkSecrets() error {
	switch {
	case (t.User == "") != (t.Password == ""):
		return errors.New("iscsi: CHAP needs both a user and a password")
	case (t.UserIn == "") != (t.PasswordIn == ""):
		return errors.New("iscsi: mutual CHAP needs both a user and a password of the target")
	case t.UserIn != "" && t.User == "":
		return errors.New("iscsi: mutual CHAP needs a user and a password of this node as well")
	case t.User != "" && t.Password == t.PasswordIn:
		// RFC 7143, section 9.2.1: with one secret for both ways an attacker
		// lets us compute the answer to our own question.
		return errors.New("iscsi: the target's password is the same as the node's: give the target another one")
	}
	for _, s := range []string{t.User, t.UserIn, string(t.Password), string(t.PasswordIn)} {
		if len(s) > maxValue {
			return fmt.Errorf("iscsi: a user or password is longer than %d bytes", maxValue)
		}
		for i := range len(s) {
			if s[i] == 0 {
				return errors.New("iscsi: a user or password contains a NUL byte")
			}
		}
	}
	return nil
}
