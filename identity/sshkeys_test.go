package identity

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Keys are made where there is none or one is empty, as a power cut leaves it.
func TestSSHKeysScript(t *testing.T) {
	for name, test := range map[string]struct {
		keys  map[string]string
		makes bool
	}{
		"none":      {nil, true},
		"all":       {map[string]string{"ssh_host_rsa_key": "key", "ssh_host_ed25519_key": "key"}, false},
		"one":       {map[string]string{"ssh_host_rsa_key": "key"}, false},
		"empty":     {map[string]string{"ssh_host_rsa_key": "", "ssh_host_ed25519_key": "key"}, true},
		"all empty": {map[string]string{"ssh_host_rsa_key": "", "ssh_host_ed25519_key": ""}, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for key, text := range test.keys {
				if err := os.WriteFile(dir+"/"+key, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(dir+"/keygen", []byte("#!/bin/sh\necho \"$@\" >>"+dir+"/made\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			script := strings.NewReplacer("$$", "$", "/etc/ssh", dir, "/usr/bin/ssh-keygen", dir+"/keygen").Replace(sshKeysScript)
			if out, err := exec.Command("/bin/sh", "-c", script).CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", name, err, out)
			}
			made, _ := os.ReadFile(dir + "/made")
			if want := map[bool]string{true: "-A\n"}[test.makes]; string(made) != want {
				t.Errorf("%s: ssh-keygen was run with %q, want %q", name, made, want)
			}
		})
	}
}
