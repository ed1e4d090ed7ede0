package qemutests

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// A LUN is a volume that the lab's iSCSI target offers as LUN 1 of a target of
// its own.
type LUN struct {
	// Target is the target's name.
	Target string
	// File is the backing file; see Lab.Volume.
	File string
	// BlockSize is 512 (the default) or 4096.
	BlockSize int
	// User and Password are what initiators prove; UserIn and PasswordIn what
	// the target proves.
	User, Password, UserIn, PasswordIn string
	// Unreadable, unless it is zero, is the offset in bytes where reading the
	// backing file fails. For LIO; tgt's file can be truncated instead.
	Unreadable int64
}

// ISCSIPort is where the lab's iSCSI target listens.
const ISCSIPort = 3260

// Volume makes a file of zeros for a LUN on the lab's tmpfs and returns its path
// on the host and in the lab.
func (l *Lab) Volume(name string, size int64) (host, inLab string, err error) {
	inLab = filepath.Join(labDir, name)
	host = l.Path(inLab)
	if err := os.WriteFile(host, nil, 0o600); err != nil {
		return "", "", err
	}
	return host, inLab, os.Truncate(host, size)
}

// StartTGT runs tgtd with the LUNs. It can be stopped and started again.
func (l *Lab) StartTGT(ctx context.Context, luns []LUN) (*Server, error) {
	if _, err := l.Output(ctx, "mkdir", "-p", "/run/tgtd"); err != nil {
		return nil, err
	}
	s, err := l.Start(ctx, Program{
		Name: "tgtd",
		Argv: []string{"tgtd", "-f", "--iscsi", fmt.Sprintf("portal=%s:%d", ServerAddr, ISCSIPort)},
		Ready: func(ctx context.Context) error {
			_, err := l.Output(ctx, "tgtadm", "--op", "show", "--mode", "sys")
			return err
		},
	})
	if err != nil {
		return nil, err
	}
	for i, lun := range luns {
		if err := l.offer(ctx, i+1, lun); err != nil {
			return nil, fmt.Errorf("target %s: %w", lun.Target, err)
		}
	}
	return s, nil
}

// offer tells tgtd about one LUN.
func (l *Lab) offer(ctx context.Context, tid int, lun LUN) error {
	admin := func(args ...string) error {
		_, err := l.Output(ctx, append([]string{"tgtadm", "--lld", "iscsi"}, args...)...)
		return err
	}
	id := strconv.Itoa(tid)
	steps := [][]string{{"--op", "new", "--mode", "target", "--tid", id, "-T", lun.Target}}
	disk := []string{"--op", "new", "--mode", "logicalunit", "--tid", id, "--lun", "1", "-b", lun.File}
	if lun.BlockSize != 0 {
		disk = append(disk, "--blocksize", strconv.Itoa(lun.BlockSize))
	}
	steps = append(steps, disk)
	for _, account := range []struct{ user, password, way string }{{lun.User, lun.Password, ""}, {lun.UserIn, lun.PasswordIn, "--outgoing"}} {
		if account.user == "" {
			continue
		}
		// Accounts are tgtd's, and shared by its targets.
		_ = admin("--op", "new", "--mode", "account", "--user", account.user, "--password", account.password)
		bind := []string{"--op", "bind", "--mode", "account", "--tid", id, "--user", account.user}
		if account.way != "" {
			bind = append(bind, account.way)
		}
		steps = append(steps, bind)
	}
	steps = append(steps, []string{"--op", "bind", "--mode", "target", "--tid", id, "-I", "ALL"})
	for _, step := range steps {
		if err := admin(step...); err != nil {
			return err
		}
	}
	return nil
}
