package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestAdviseSSH(t *testing.T) {
	root, run := t.TempDir(), t.TempDir()
	unit := filepath.Join(run, unitDir, sshKeysName)
	if err := adviseSSH(root, run); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(unit); err == nil {
		t.Error("a tree without a server: a unit was written")
	}
	mustMkdir(t, root+"/usr/sbin", root+"/usr/bin")
	for _, program := range []string{"/usr/sbin/sshd", "/usr/bin/ssh-keygen"} {
		if err := os.WriteFile(root+program, nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // An earlier attempt may have left it.
		if err := adviseSSH(root, run); err != nil {
			t.Error(err)
		}
	}
	for _, name := range sshUnits {
		if text, err := os.ReadFile(filepath.Join(run, unitDir, name+".wants", sshKeysName)); string(text) != sshKeysUnit {
			t.Errorf("%s does not want the keys: %v", name, err)
		}
	}
	for _, name := range sshInstances {
		if text, err := os.ReadFile(filepath.Join(run, unitDir, name+".d/sidusboot-ssh-keys.conf")); !strings.Contains(string(text), "\nAfter="+sshKeysName+"\n") {
			t.Errorf("%s does not wait for the keys: %v", name, err)
		}
	}
	if err := writeAdvice(run, nil); err != nil { // Of network managers, after that.
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(run, unitDir, sshInstances[0]+".d/sidusboot-ssh-keys.conf")); err != nil {
		t.Error(err)
	}
}

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
	}
}
