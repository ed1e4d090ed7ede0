package main

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestWriteOpenISCSI(t *testing.T) {
	root := t.TempDir()
	const iqn = "iqn.2013-09.org.sidusboot:52:54:00:77:00:01"
	if err := writeOpenISCSI(root, iqn); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(root); err != nil || len(entries) != 0 {
		t.Errorf("a tree without open-iscsi was given %v, %v", entries, err)
	}
	mustMkdir(t, root+"/etc/iscsi", root+"/etc/default")
	for name, text := range map[string]string{"/etc/iscsi/iscsid.conf": "", "/etc/default/open-iscsi": `EXCLUDE_MOUNTS_AT_SHUTDOWN="/srv"`} {
		if err := os.WriteFile(root+name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // As at the second boot from a kept upper layer.
		if err := writeOpenISCSI(root, iqn); err != nil {
			t.Fatal(err)
		}
	}
	// As the scripts read it.
	out, err := exec.Command("sh", "-c", ". "+root+`/etc/default/open-iscsi; echo "$EXCLUDE_MOUNTS_AT_SHUTDOWN" $ISCSI_ROOT_KEEP_ALL_SESSIONS_AT_SHUTDOWN`).Output()
	if got := strings.TrimSpace(string(out)); err != nil || got != "/srv /rw 1" {
		t.Errorf("the scripts read %q, %v", got, err)
	}
	if b, err := os.ReadFile(root + "/etc/iscsi/initiatorname.iscsi"); err != nil || string(b) != "InitiatorName="+iqn+"\n" {
		t.Errorf("initiatorname.iscsi: %q, %v", b, err)
	}
	if _, err := os.Stat(root + "/etc/iscsi/iscsi.initramfs"); err != nil {
		t.Error(err)
	}
}

// What is handed to the keeper comes out as it went in, and the shutdown's copy
// holds no secret.
func TestSessionState(t *testing.T) {
	state := testSession(t)
	target := state.target
	s, err := decodeSession(string(state.encode(true)))
	got := s.target
	if err != nil || s.id != state.id || s.disk != state.disk || s.key != state.key || got.Name != target.Name ||
		got.Password != target.Password || got.PasswordIn != target.PasswordIn ||
		got.ISID != target.ISID || !slices.Equal(got.CHAP, target.CHAP) || len(got.Portals) != 2 || got.Portals[1] != target.Portals[1] || got.LUN != 7 {
		t.Errorf("got %+v, %v", s, err)
	}
	public := string(state.encode(false))
	for _, secret := range []string{string(target.Password), string(target.PasswordIn)} {
		if strings.Contains(public, secret) {
			t.Error("the shutdown's copy holds a secret")
		}
	}
	for _, text := range []string{"name", "name x", "lun \"x\"", "isid \"ab\"", "portal \":::\"", "other \"x\"", "session \"-1\""} {
		if _, err := decodeSession(text + "\n"); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("decodeSession(%q) = %v, want an error", text, err)
		}
	}
}
