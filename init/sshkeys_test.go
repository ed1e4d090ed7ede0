package main

import (
	"os"
	"path/filepath"
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
}
