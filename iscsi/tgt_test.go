package iscsi_test

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sidusboot/sidusboot/iscsi"
)

// inNamespace says that this is the copy of the test in namespaces of its own.
const inNamespace = "ISCSI_TEST_IN_NAMESPACE"

// TestTgt logs in to a real target. The test runs itself again in fresh network
// and mount namespaces, so that tgtd meets nobody.
func TestTgt(t *testing.T) {
	if os.Getenv(inNamespace) == "" {
		for _, program := range []string{"tgtd", "tgtadm", "unshare", "ip", "mount"} {
			if _, err := exec.LookPath(program); err != nil {
				skip(t, err.Error())
			}
		}
		if os.Getuid() != 0 {
			skip(t, "namespaces need root")
		}
		cmd := exec.Command("unshare", "-n", "-m", os.Args[0], "-test.run=^TestTgt$", "-test.v", "-test.timeout=10m")
		cmd.Env = append(os.Environ(), inNamespace+"=1")
		out, err := cmd.CombinedOutput()
		t.Logf("%s", out)
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	startTgt(t)
	const open, oneWay, mutual = "iqn.2013-09.org.example:open", "iqn.2013-09.org.example:one-way", "iqn.2013-09.org.example:mutual"
	const elsewhere = "iqn.2013-09.org.example:elsewhere"
	const secret, secretIn = "node-secret-12345", "nas-secret-123456"
	for _, tt := range []struct {
		name, target               string
		user, password, in, passIn string
		chap                       []iscsi.Algorithm
		want                       error
		say                        string
	}{
		{name: "open", target: open},
		{name: "one-way", target: oneWay, user: "node", password: secret},
		{name: "mutual", target: mutual, user: "node", password: secret, in: "nas", passIn: secretIn},
		{name: "one-way of a mutual target", target: mutual, user: "node", password: secret},
		{name: "credentials nobody asks for", target: open, user: "node", password: secret},
		{name: "MD5 among others", target: oneWay, user: "node", password: secret, chap: []iscsi.Algorithm{iscsi.MD5, iscsi.SHA256}},
		{name: "wrong password", target: oneWay, user: "node", password: "wrong", want: iscsi.ErrAuthentication, say: "0201"},
		{name: "wrong user", target: oneWay, user: "nobody", password: secret, want: iscsi.ErrAuthentication, say: "0201"},
		{name: "no password", target: oneWay, want: iscsi.ErrAuthentication, say: "0201"},
		{name: "unknown target", target: "iqn.2013-09.org.example:other", want: iscsi.ErrNotFound, say: "0203"},
		{name: "another address", target: elsewhere, want: iscsi.ErrNotFound, say: "0203"},
		{name: "wrong secret of the target", target: mutual, user: "node", password: secret, in: "nas", passIn: "wrong", want: iscsi.ErrAuthentication, say: "does not have"},
		{name: "a target that cannot prove itself", target: oneWay, user: "node", password: secret, in: "nas", passIn: secretIn, want: iscsi.ErrAuthentication},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			c, err := net.Dial("tcp", "127.0.0.1:3260")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			params, err := iscsi.Login(ctx, iscsi.NewConn(c), iscsi.Target{Name: tt.target, Initiator: nodeName,
				User: tt.user, Password: iscsi.Secret(tt.password), UserIn: tt.in, PasswordIn: iscsi.Secret(tt.passIn), CHAP: tt.chap})
			if tt.want == nil {
				if err != nil || params.TSIH == 0 || params.PortalGroup != 1 {
					t.Errorf("got %+v, %v", params, err)
				}
				return
			}
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.say) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func skip(t *testing.T, why string) {
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// startTgt starts tgtd with four targets.
func startTgt(t *testing.T) {
	sh := func(script string) error {
		out, err := exec.Command("sh", "-ec", script).CombinedOutput()
		if err != nil {
			t.Logf("%s", out)
		}
		return err
	}
	if err := sh("mount --make-rprivate /; mount -t tmpfs tmpfs /run; mkdir /run/tgtd; ip link set lo up"); err != nil {
		t.Fatal(err)
	}
	tgtd := exec.Command("tgtd", "-f", "-C", "7", "--iscsi", "portal=127.0.0.1:3260")
	tgtd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := tgtd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		tgtd.Process.Kill()
		tgtd.Wait()
	})
	for deadline := time.Now().Add(time.Minute); sh("tgtadm -C 7 --op show --mode sys") != nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("tgtd does not answer")
		}
	}
	if err := sh(`
adm() { tgtadm -C 7 --lld iscsi "$@"; }
adm --op new --mode account --user node --password node-secret-12345
adm --op new --mode account --user nas --password nas-secret-123456
tid=0
for name in open one-way mutual; do
	tid=$((tid + 1))
	truncate -s 8M /run/$name
	adm --op new --mode target --tid $tid -T iqn.2013-09.org.example:$name
	adm --op new --mode logicalunit --tid $tid --lun 1 -b /run/$name
	adm --op bind --mode target --tid $tid -I ALL
done
adm --op new --mode target --tid 4 -T iqn.2013-09.org.example:elsewhere
adm --op bind --mode target --tid 4 -I 10.0.0.7
adm --op bind --mode account --tid 2 --user node
adm --op bind --mode account --tid 3 --user node
adm --op bind --mode account --tid 3 --user nas --outgoing
`); err != nil {
		t.Fatal(err)
	}
}
