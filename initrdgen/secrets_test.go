package main

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sidusboot/sidusboot/config"
	"github.com/sidusboot/sidusboot/initrd/initrdtest"
)

// The site's key of these tests, and what it gives for the first target:
//
//	printf %s iqn.2013-09.org.sidusboot:10.0.0.7 | openssl dgst -sha256 -hmac 0123456789abcdef
const (
	siteKey      = "0123456789abcdef"
	firstTarget  = "iqn.2013-09.org.sidusboot:10.0.0.7"
	firstHMAC    = "9094f197667059af757aa180f6d05f643f29568994b605738e719090b18e6645"
	firstSecret  = "kJTxl2ZwWa91eqGA"
	secondSecret = "RCuf3EKWi2rIo3.B"
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

func TestPassword(t *testing.T) {
	got := password([]byte(siteKey), firstTarget)
	if got != firstSecret {
		t.Errorf("password = %q, want %q", got, firstSecret)
	}
	bits, err := passwordEncoding.DecodeString(got)
	if err != nil || hex.EncodeToString(bits) != firstHMAC[:24] {
		t.Errorf("password = %x, %v, want the first 96 bits of %s", bits, err, firstHMAC)
	}
	if got := passwordEncoding.EncodeToString([]byte{0xfb, 0xff, 0xbf}); strings.Trim(got, "._") != "" {
		t.Errorf("a password may hold %q", got)
	}
}

func TestSecretsFormats(t *testing.T) {
	nodes := secretFile(t, "# the room\n10.0.0.7 52-54-00-AB-00-01\n\n10.0.0.8 # no MAC\n")
	targets := secretFile(t, "IQN.2013-09.org.sidusboot:10.0.0.7 iqn.2013-09.org.example:Seven\niqn.2013-09.org.sidusboot:10.0.0.8 02:00:00:00:00:08\n")
	const hexTarget = "iqn.2013-09.org.example.nas:%I"
	for name, tt := range map[string]struct {
		opts secretsOptions
		want string
	}{
		"table": {secretsOptions{Nodes: []string{"10.0.0.7-10.0.0.8"}}, `NODE      TARGET                              USER           PASSWORD
10.0.0.7  iqn.2013-09.org.sidusboot:10.0.0.7  node-10.0.0.7  kJTxl2ZwWa91eqGA
10.0.0.8  iqn.2013-09.org.sidusboot:10.0.0.8  node-10.0.0.8  RCuf3EKWi2rIo3.B
`},
		"table without nodes": {secretsOptions{Targets: secretFile(t, firstTarget+"\n"), User: "node"}, `NODE  TARGET                              USER  PASSWORD
-     iqn.2013-09.org.sidusboot:10.0.0.7  node  kJTxl2ZwWa91eqGA
`},
		"table in hex": {secretsOptions{Nodes: []string{"10.0.0.10"}, Target: hexTarget}, "NODE       TARGET                                USER           PASSWORD\n" +
			"10.0.0.10  iqn.2013-09.org.example.nas:0a00000a  node-0a00000a  " + password([]byte(siteKey), "iqn.2013-09.org.example.nas:0a00000a") + "\n"},
		"tgt": {secretsOptions{Nodes: []string{"10.0.0.7", "10.0.0.8"}}, `<target iqn.2013-09.org.sidusboot:10.0.0.7>
    incominguser node-10.0.0.7 kJTxl2ZwWa91eqGA
</target>
<target iqn.2013-09.org.sidusboot:10.0.0.8>
    incominguser node-10.0.0.8 RCuf3EKWi2rIo3.B
</target>
`},
		"lio": {secretsOptions{NodesFrom: nodes, User: "node"}, `/iscsi/iqn.2013-09.org.sidusboot:10.0.0.7/tpg1/acls/iqn.2013-09.org.sidusboot:52:54:00:ab:00:01 set auth userid=node password=kJTxl2ZwWa91eqGA
/iscsi/iqn.2013-09.org.sidusboot:10.0.0.7/tpg1 set attribute authentication=1 generate_node_acls=0
/iscsi/iqn.2013-09.org.sidusboot:10.0.0.8/tpg1 set auth userid=node password=RCuf3EKWi2rIo3.B
/iscsi/iqn.2013-09.org.sidusboot:10.0.0.8/tpg1 set attribute authentication=1 generate_node_acls=1 cache_dynamic_acls=1 demo_mode_write_protect=0
`},
		"lio by name": {secretsOptions{Nodes: []string{"10.0.0.7"}, Initiator: "iqn.2013-09.org.example:Node-%i"}, `/iscsi/iqn.2013-09.org.sidusboot:10.0.0.7/tpg1/acls/iqn.2013-09.org.example:node-10.0.0.7 set auth userid=node-10.0.0.7 password=kJTxl2ZwWa91eqGA
/iscsi/iqn.2013-09.org.sidusboot:10.0.0.7/tpg1 set attribute authentication=1 generate_node_acls=0
`},
		"image": {secretsOptions{NodesFrom: nodes}, `# MATCH USER PASSWORD, for initrdgen build --secrets
52:54:00:ab:00:01 node-10.0.0.7 kJTxl2ZwWa91eqGA
10.0.0.8 node-10.0.0.8 RCuf3EKWi2rIo3.B
`},
		"image by target": {secretsOptions{Targets: targets}, `# MATCH USER PASSWORD, for initrdgen build --secrets
iqn.2013-09.org.example:seven node-10.0.0.7 kJTxl2ZwWa91eqGA
02:00:00:00:00:08 node-10.0.0.8 RCuf3EKWi2rIo3.B
`},
	} {
		t.Run(name, func(t *testing.T) {
			tt.opts.Key = secretFile(t, siteKey+"\n")
			tt.opts.Format, _, _ = strings.Cut(name, " ")
			if tt.opts.Target == "" {
				tt.opts.Target = config.DefaultTarget
			}
			var out strings.Builder
			err := printSecrets(&out, tt.opts)
			if diff := cmp.Diff(tt.want, out.String()); err != nil || diff != "" {
				t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
			}
			if tt.opts.Format == "image" {
				if _, err := config.ParseSecrets(out.String()); err != nil {
					t.Errorf("%s: initrdgen build --secrets: %v", name, err)
				}
			}
		})
	}
}

func TestParseRange(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.7":                        "10.0.0.7",
		"10.0.0.7-10.0.0.7":               "10.0.0.7",
		"10.0.0.254-10.0.1.1":             "10.0.0.254 10.0.0.255 10.0.1.0 10.0.1.1",
		"255.255.255.254-255.255.255.255": "255.255.255.254 255.255.255.255",
	} {
		t.Run(in, func(t *testing.T) {
			nodes, err := parseRange(in)
			var got []string
			for _, n := range nodes {
				got = append(got, n.lease.Addr.String())
			}
			if err != nil || strings.Join(got, " ") != want {
				t.Errorf("parseRange(%q) = %q, %v, want %q", in, got, err, want)
			}
		})
	}
	for in, want := range map[string]string{
		"":                          "not an IPv4 address",
		"node7":                     "not an IPv4 address",
		"0.0.0.0":                   "not an IPv4 address",
		"10.0.0.1-20":               "not an IPv4 address: write 10.0.0.7 or 10.0.0.1-10.0.0.20",
		"10.0.0.0/24":               "not an IPv4 address",
		"2001:db8::1":               "not an IPv4 address",
		"10.0.0.9-10.0.0.7":         "write 10.0.0.7-10.0.0.9",
		"10.0.0.0-10.1.0.0":         "more than 65536 nodes",
		"1.0.0.0-255.255.255.255":   "more than 65536 nodes",
		"10.0.0.1-10.0.0.2-3.3.3.3": "not an IPv4 address",
	} {
		t.Run(in, func(t *testing.T) {
			if nodes, err := parseRange(in); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("parseRange(%q) = %d nodes, %v, want %q", in, len(nodes), err, want)
			}
		})
	}
}

// Exit codes, what goes where, and no password with an error.
func TestSecretsCommand(t *testing.T) {
	key := secretFile(t, siteKey)
	open := secretFile(t, siteKey)
	if err := os.Chmod(open, 0o640); err != nil {
		t.Fatal(err)
	}
	one := []string{"secrets", "--key", key, "--nodes", "10.0.0.7"}
	with := func(args ...string) []string { return append(slices.Clone(one), args...) }
	from := func(text string, args ...string) []string {
		return append([]string{"secrets", "--key", key, "--nodes-from", secretFile(t, text)}, args...)
	}
	targets := func(text string, args ...string) []string {
		return append([]string{"secrets", "--key", key, "--targets", secretFile(t, text)}, args...)
	}
	for _, tt := range []struct {
		args   []string
		code   int
		stdout string
		stderr string
	}{
		{one, 0, firstSecret, "the output is secret"},
		{with("--format", "tgt"), 0, "incominguser node-10.0.0.7 " + firstSecret + "\n", "umask 077"},
		{with("--nodes", "10.0.0.8"), 0, secondSecret, ""},
		{[]string{"secrets", "--help"}, 0, "Examples:", ""},
		{[]string{"secrets", "--nodes", "10.0.0.7"}, 2, "", "--key is missing"},
		{[]string{"secrets", "--key", key}, 2, "", "no nodes given"},
		{with("extra"), 2, "", `unexpected argument "extra"`},
		{with("--format", "iet"), 2, "", `unknown format "iet": choose one of table, tgt, lio, image`},
		{with("--nodes", "10.0.0.1-20"), 2, "", `--nodes 10.0.0.1-20: "20" is not an IPv4 address`},
		{with("--targets", key), 2, "", "--nodes would have no effect"},
		{[]string{"secrets", "--key", open, "--nodes", "10.0.0.7"}, 1, "", "has mode 0640, so other users may read the secrets in it: run chmod 600 " + open},
		{[]string{"secrets", "--key", "/no/such", "--nodes", "10.0.0.7"}, 1, "", "--key: stat /no/such: no such file or directory: give a file of mode 600"},
		{[]string{"secrets", "--key", secretFile(t, "only-15-bytes-x\n"), "--nodes", "10.0.0.7"}, 1, "", "has 15 bytes, fewer than 16"},
		{with("--nodes", "10.0.0.1-10.0.0.9"), 1, "", "--nodes 10.0.0.7 and --nodes 10.0.0.7 have the same target"},
		{with("--nodes", "10.0.0.8", "--target", "iqn.2013-09.org.example:all"), 1, "", "have the same target, iqn.2013-09.org.example:all: each node needs its own"},
		{with("--target", "iqn.2013-09.org.example:%m"), 1, "", "--nodes 10.0.0.7: --target: template"},
		{with("--target", "disk-%i"), 1, "", `target name "disk-10.0.0.7"`},
		{with("--format", "lio", "--initiator", "iqn.2013-09.org.example:%m"), 1, "", "--initiator: template"},
		{with("--user", "a b"), 1, "", `the user "a b" begins with - or has characters other than letters`},
		{with("--user", "-x"), 1, "", `the user "-x" begins with - or has characters other than letters`},
		{with("--user", "%h"), 1, "", "--user: template"},
		{with("--nodes", "10.0.0.8", "--user", "node", "--format", "tgt"), 1, "", "tgt has one password for each user"},
		{from("10.0.0.7 x\n"), 1, "", `line 1: "x" is not a MAC`},
		{from("\n10.0.0.7-10.0.0.8 02:00:00:00:00:01\n"), 1, "", "line 2: a MAC after a range"},
		{from("10.0.0.7 02:00:00:00:00:01 x\n"), 1, "", "line 1: 3 words on one line: write ADDRESS [MAC]"},
		{from("10.0.0.7 02:00:00:00:00:01\n10.0.0.8 02:00:00:00:00:01\n"), 1, "", "line 2 are both for the node 02:00:00:00:00:01"},
		{from("# nobody\n"), 1, "", "has no entries"},
		{from("10.0.0.0-10.0.255.255\n10.1.0.0\n"), 1, "", "line 2: more than 65536 nodes"},
		{targets("iqn.2013-09.org.example:a\n", "--format", "image"), 1, "", "line 1: there is no MATCH after the target"},
		{targets("iqn.2013-09.org.example:a node7\n"), 1, "", `line 1: MATCH "node7" is not an IPv4 address`},
		{targets("x\n"), 1, "", `line 1: target name "x"`},
	} {
		t.Run(rowName(tt.args), func(t *testing.T) {
			stdout, stderr, code := initrdgen(t, "", nil, tt.args...)
			if code != tt.code || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) || code != 0 && stdout != "" {
				t.Errorf("initrdgen %q = %d, want %d\nstdout (want %q): %s\nstderr (want %q): %s",
					tt.args, code, tt.code, tt.stdout, stdout, tt.stderr, stderr)
			}
			if strings.Contains(stderr, firstSecret) || strings.Contains(stderr, siteKey) {
				t.Errorf("initrdgen %q: a secret in stderr: %s", tt.args, stderr)
			}
		})
	}
}

// From the key into an image; neither the report nor the list of files shows it.
func TestSecretsIntoImage(t *testing.T) {
	dir := t.TempDir()
	key, output := secretFile(t, siteKey), filepath.Join(dir, "initrd.img")
	stdout, stderr, code := initrdgen(t, "", nil, "secrets", "--key", key, "--nodes", "10.0.0.7-10.0.0.8", "--format", "image")
	if code != 0 {
		t.Fatalf("secrets = %d: %s", code, stderr)
	}
	program := filepath.Join(dir, "init")
	initrdtest.WriteFile(t, program, initrdtest.Program(nil))
	built, stderr, code := initrdgen(t, "", nil, "build", "--verbose", "--root", initrdtest.Tree(t), "--output", output, "--init", program,
		"--secrets", secretFile(t, stdout))
	if code != 0 {
		t.Fatalf("build = %d: %s", code, stderr)
	}
	listed, _, code := initrdgen(t, "", nil, "list", output)
	if code != 0 || !strings.Contains(listed, "100600") {
		t.Errorf("list = %d: %s", code, listed)
	}
	for _, s := range []string{built, stderr, listed} {
		if strings.Contains(s, firstSecret) || strings.Contains(s, "node-10.0.0.7") {
			t.Errorf("a secret in %s", s)
		}
	}
}
