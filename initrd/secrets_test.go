package initrd

import (
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sidusboot/sidusboot/config"
	"github.com/sidusboot/sidusboot/image"
	"github.com/sidusboot/sidusboot/initrd/initrdtest"
)

// secretFile makes a file of mode 0600.
func secretFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// Only root can read the secrets in an image.
func TestBuildSecrets(t *testing.T) {
	opts := fakeOptions(t, initrdtest.Tree(t))
	const secret = "kJTxl2ZwWa91eqGA"
	opts.Secrets = secretFile(t, "10.0.0.7 node-10.0.0.7 "+secret+"\n10.0.0.8 node-10.0.0.8 RCuf3EKWi2rIo3.B\n")
	initrdtest.WriteFile(t, opts.Output, []byte("an old image, mode 0644"))
	rep, err := Build(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{opts.Output: 0o600, opts.Report: 0o644} {
		if fi, err := os.Stat(name); err != nil || fi.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v, want %v", name, fi.Mode(), err, want)
		}
	}
	if !slices.ContainsFunc(rep.Warnings, func(w string) bool {
		return strings.Contains(w, "everybody who can fetch "+opts.Output+" by TFTP or HTTP")
	}) {
		t.Errorf("warnings = %q, want one about who can read the image", rep.Warnings)
	}

	saved, err := json.Marshal(rep)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(saved), secret) || strings.Contains(string(saved), "node-10.0.0.7") {
		t.Errorf("a secret in %s", saved)
	}

	name := filepath.Join(unpack(t, opts.Output), image.Secrets)
	if fi, err := os.Stat(name); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%s: %v, %v, want mode 0600", name, fi.Mode(), err)
	}
	packed, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	secrets, err := config.ParseSecrets(string(packed))
	c, ok := secrets.For(config.Lease{Addr: netip.MustParseAddr("10.0.0.7"), MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}}, "iqn.2013-09.org.sidusboot:02:00:00:00:00:01")
	if err != nil || !ok || c.User != "node-10.0.0.7" || c.Password != secret {
		t.Errorf("For = %v, %v, %v, want the first node's", c, ok, err)
	}
}

func TestBuildSecretsErrors(t *testing.T) {
	opts := fakeOptions(t, initrdtest.Tree(t))
	readable := secretFile(t, "default node geheim\n")
	if err := os.Chmod(readable, 0o644); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		readable:                               "Secrets: " + readable + " has mode 0644, so other users may read the secrets in it: run chmod 600 " + readable,
		"/no/such/file":                        "Secrets: stat /no/such/file",
		t.TempDir():                            "not a regular file",
		secretFile(t, "geheim"):                ": line 1: has 1 fields",
		secretFile(t, "#\nx u geheim\nq\n"):    ": line 2: does not begin with",
		secretFile(t, "default u geheim\n\"x"): ": line 2: a quote is not closed",
	} {
		t.Run(file, func(t *testing.T) {
			opts.Secrets = file
			_, err := Build(t.Context(), opts)
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "geheim") {
				t.Errorf("Secrets %s: %v, want %q", file, err, want)
			}
			checkClean(t, filepath.Dir(opts.Output))
		})
	}
	opts.Secrets, opts.Output = readable, readable
	if option := (*OptionError)(nil); !errors.As(checkOutputs(opts), &option) || !option.Invalid {
		t.Error("the output may be the file of secrets")
	}
}

// A password in the parameters is packed for everybody to read, and said so.
func TestBuildPasswordInConfig(t *testing.T) {
	opts := fakeOptions(t, initrdtest.Tree(t))
	opts.Config = secretFile(t, "sidus.iscsi.user=node sidus.iscsi.password=geheim\n")
	rep, err := Build(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(rep.Warnings, "\n")
	if !strings.Contains(all, "has a password") || strings.Contains(all, "geheim") {
		t.Errorf("warnings = %q", all)
	}
}
