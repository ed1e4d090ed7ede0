package rwlayer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sidusboot/sidusboot/iscsi"
)

// TestThinTgt asks a real tgtd what is stored of volumes of 1 TiB: of a blank one
// nothing, of another one the only block that has data, wherever that is. A
// volume that tgtd does not offer as a thin one is not told of.
func TestThinTgt(t *testing.T) {
	const namespace = "RWLAYER_TEST_THIN"
	if os.Getenv(namespace) == "" {
		for _, program := range []string{"tgtd", "tgtadm", "unshare", "ip", "mount"} {
			if _, err := exec.LookPath(program); err != nil {
				if os.Getenv("CI") == "true" {
					t.Fatal(err)
				}
				t.Skip(err)
			}
		}
		if os.Getuid() != 0 {
			t.Skip("namespaces need root")
		}
		cmd := exec.Command("unshare", "-n", "-m", os.Args[0], "-test.run=^TestThinTgt$", "-test.v", "-test.timeout=120s")
		cmd.Env = append(os.Environ(), namespace+"=1")
		out, err := cmd.CombinedOutput()
		t.Logf("%s", out)
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	const size, hidden = int64(1 << 40), int64(777_777_777_664)
	shell(t, fmt.Sprintf("mount --make-rprivate /; mount -t tmpfs tmpfs /run; mkdir /run/tgtd; ip link set lo up; truncate -s %d /run/blank /run/data; printf x | dd of=/run/data bs=1 seek=%d conv=notrunc status=none", size, hidden))
	tgtd := exec.Command("tgtd", "-f", "-C", "8", "--iscsi", "portal=127.0.0.1:3260")
	tgtd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := tgtd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = tgtd.Process.Kill()
		_ = tgtd.Wait()
	}()
	adm := "tgtadm -C 8 --lld iscsi "
	shell(t, "for i in $(seq 100); do "+adm+"--op show --mode sys >/dev/null 2>&1 && break; sleep 0.1; done; "+
		adm+"--op new --mode target --tid 1 -T iqn.2013-09.org.example:thin; "+adm+"--op bind --mode target --tid 1 -I ALL; "+
		"for lun in '1 blank 1' '2 data 1' '3 data 0'; do set -- $lun; "+
		adm+"--op new --mode logicalunit --tid 1 --lun $1 -b /run/$2; "+adm+"--op update --mode logicalunit --tid 1 --lun $1 --params thin_provisioning=$3; done")
	ask := func(lun uint64) (mapped []extent, err error) {
		t.Helper()
		portal, err := iscsi.ParsePortal("127.0.0.1:3260")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		target := iscsi.Target{Name: "iqn.2013-09.org.example:thin", Initiator: "iqn.2013-09.org.example:node", LUN: lun, Portals: []iscsi.Portal{portal}}
		asked := target.Ask(ctx, func(u *iscsi.LogicalUnit) error {
			mapped, err = mappedExtents(newDevice(u), size)
			return nil
		})
		return mapped, errors.Join(asked, err)
	}
	if mapped, err := ask(1); err != nil || len(mapped) != 0 {
		t.Errorf("blank: %v, %v", mapped, err)
	}
	mapped, err := ask(2)
	if err != nil || len(mapped) != 1 || mapped[0].offset > hidden || mapped[0].offset+mapped[0].length <= hidden || mapped[0].length > 1<<20 {
		t.Errorf("one byte of data: %v, %v", mapped, err)
	}
	f, err := os.Open("/run/data")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var data *NotBlankError
	if err := proveBlank(f, size, mapped, nil); !errors.As(err, &data) || data.Offset != hidden {
		t.Errorf("proveBlank = %v, want a NotBlankError at %d", err, hidden)
	}
	if err := proveBlank(f, size, nil, nil); err != nil {
		t.Errorf("the samples find it too: %v", strings.TrimSpace(err.Error()))
	}
	if mapped, err := ask(3); !errors.Is(err, errNotReported) {
		t.Errorf("not thin: %v, %v", mapped, err)
	}
}
