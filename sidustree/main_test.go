package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sidusboot/sidusboot/command"
)

// TestCommands runs the commands as a user does: init, publish, list, diff,
// rollback and gc of one base.
func TestCommands(t *testing.T) {
	dir := t.TempDir()
	old, base := filepath.Join(dir, "old"), filepath.Join(dir, "base")
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(old, "etc/file"), "one")
	write(filepath.Join(old, "lib/modules/6.1/modules.dep"), "")
	write(filepath.Join(old, "etc/hostname"), "tree")
	sidustree := func(code int, says string, args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		if got := command.Run(rootCommand(), args, &out, &errs); got != code {
			t.Fatalf("%v: exit %d, want %d: %s", args, got, code, errs.String())
		}
		all := out.String() + errs.String()
		if !strings.Contains(all, says) {
			t.Errorf("%v says %q, want %q", args, all, says)
		}
		return out.String()
	}
	sidustree(0, "is a base", "init", base, "--from", old)
	sidustree(1, "no program to start", "publish", base)
	sidustree(1, "no program to start", "check", old)
	write(filepath.Join(base, "staging/sbin/init"), "#!/bin/sh\n")
	if err := os.Chmod(filepath.Join(base, "staging/sbin/init"), 0o755); err != nil {
		t.Fatal(err)
	}
	sidustree(0, "note: the tree has a host name", "check", filepath.Join(base, "staging"))
	sidustree(0, "version a is current", "publish", base, "--id", "a")
	write(filepath.Join(base, "staging/etc/file"), "two")
	write(filepath.Join(base, "staging/etc/new\x1b[31m"), "")
	sidustree(0, "version b is current", "publish", base, "--id=b")
	sidustree(0, "b *", "list", base)
	sidustree(0, "~ etc/file content\n  + etc/new\\u001b[31m", "diff", base, "a", "b")
	sidustree(0, "version a is current, it was b", "rollback", base)
	var d struct{ Etc []struct{ Name string } }
	if err := json.Unmarshal([]byte(sidustree(0, "", "diff", base, "a", "b", "--json")), &d); err != nil || len(d.Etc) != 2 {
		t.Errorf("got %+v, %v", d, err)
	}
	sidustree(0, "0 would be removed, 2 kept", "gc", base, "--keep=1", "--dry-run", "--assume-unused")
	sidustree(0, "is current, it was a", "rollback", base, "b")
	sidustree(0, "a removed\n1 removed, 1 kept", "gc", base, "--keep=1", "--assume-unused")

	sidustree(0, `"hostname"`, "check", "--json", filepath.Join(base, "current"))
	for _, args := range [][]string{{"list", base}, {"diff", base, "b", "b"}, {"gc", base, "--assume-unused"}, {"check", filepath.Join(base, "current")}} {
		if text := sidustree(0, "", append(args, "--json")...); strings.Contains(text, "null") {
			t.Errorf("%v: a list is null: %s", args, text)
		}
	}
	sidustree(0, "b\n:36\n", "__complete", "rollback", base, "")
	sidustree(0, ":36\n", "__complete", "diff", base, "x")
	sidustree(0, ":16\n", "__complete", "publish", "")
	sidustree(0, "complete -o default", "completion", "bash")
	sidustree(1, "has no version a", "rollback", base, "a")
	sidustree(1, "an ID has", "publish", base, "--id", "../x")
	sidustree(1, "already has a version b", "publish", base, "--id", "b")
	sidustree(1, "is not a base", "list", old)
	tree := filepath.Join(base, "staging")
	sidustree(0, "stamp: 20", "touch", tree)
	sidustree(0, `"stamp": "20`, "touch", tree, "--json")
	sidustree(1, "has no dpkg", "touch", tree, "--install-hook")
	if err := os.MkdirAll(filepath.Join(tree, "var/lib/dpkg"), 0o755); err != nil {
		t.Fatal(err)
	}
	sidustree(0, "80sidusboot written", "touch", tree, "--install-hook", "--keep=12h")
	sidustree(0, "the hook is removed", "touch", tree, "--remove-hook")
	sidustree(0, `"sets": []`, "touch", tree, "--remove-hook", "--json")
	sidustree(1, "is a base", "touch", base)
	sidustree(1, "is a base", "check", base)
	sidustree(1, "must not change", "touch", filepath.Join(base, "current"))
	sidustree(2, "give only one of them", "touch", tree, "--remove-hook", "--install-hook")
	sidustree(2, "give a number of days", "touch", tree, "--install-hook", "--keep=7x")
	sidustree(2, "needs --install-hook", "touch", tree, "--keep=7d")
	sidustree(2, "TREE is missing", "touch")
	sidustree(2, "BASE is missing", "publish")
	sidustree(2, "TO is missing", "diff", base, "a")
	sidustree(2, `unexpected argument "c"`, "rollback", base, "b", "c")
	sidustree(2, `unknown command "bild"`, "bild")
	sidustree(2, "give a number from 1", "gc", base, "--keep=0")
	sidustree(0, "sidustree", "--version")
}

// TestIgnored gives flags that have no effect beside another one: that is wrong usage, and
// the text names both.
func TestIgnored(t *testing.T) {
	base, tree := filepath.Join(t.TempDir(), "base"), t.TempDir()
	for name, tt := range map[string]struct {
		args  []string
		names []string
	}{
		"gc --ignore-client":     {[]string{"gc", base, "--keep", "1", "--assume-unused", "--ignore-client", "10.0.0.1"}, []string{"--assume-unused", "--ignore-client"}},
		"gc --newest-mount":      {[]string{"gc", base, "--keep", "1", "--assume-unused", "--newest-mount"}, []string{"--assume-unused", "--newest-mount"}},
		"touch --keep":           {[]string{"touch", tree, "--keep", "7d"}, []string{"--keep", "--install-hook"}},
		"touch --keep, remove":   {[]string{"touch", tree, "--keep", "7d", "--remove-hook"}, []string{"--keep", "--install-hook"}},
		"touch, both hook flags": {[]string{"touch", tree, "--install-hook", "--remove-hook"}, []string{"--install-hook", "--remove-hook"}},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			if got := command.Run(rootCommand(), tt.args, &out, &errs); got != command.Usage {
				t.Errorf("%q: exit %d, want %d: %s", tt.args, got, command.Usage, &errs)
			}
			for _, name := range tt.names {
				if !strings.Contains(errs.String(), name) {
					t.Errorf("%q says %q, want a text with %s", tt.args, &errs, name)
				}
			}
		})
	}
}

// TestHelp wants an example of every command.
func TestHelp(t *testing.T) {
	for _, cmd := range rootCommand().Commands() {
		if cmd.Example == "" || cmd.Long == "" {
			t.Errorf("%s has no help", cmd.Name())
		}
	}
}
