package nodefiles

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/sidusboot/sidusboot/tree"
)

func TestWriteOpenISCSI(t *testing.T) {
	root := t.TempDir()
	files := tree.Union{Tree: tree.At(root), Lower: tree.At(t.TempDir())}
	const iqn = "iqn.2013-09.org.sidusboot:52:54:00:77:00:01"
	if err := writeOpenISCSI(files, iqn); err != nil {
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
		if err := writeOpenISCSI(files, iqn); err != nil {
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
