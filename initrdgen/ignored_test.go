package main

import (
	"bytes"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/sidusboot/sidusboot/command"
)

// ignored runs initrdgen, and wants it to refuse a flag that would have no effect: as
// wrong usage, with the names of both flags.
func ignored(t *testing.T, args []string, names ...string) {
	t.Helper()
	var errs bytes.Buffer
	code := command.Run(rootCommand(), args, io.Discard, &errs)
	if code != command.Usage {
		t.Errorf("initrdgen %q = %d, want %d: %s", args, code, command.Usage, &errs)
	}
	for _, name := range names {
		if !strings.Contains(errs.String(), name) {
			t.Errorf("initrdgen %q says %q, want a text with %s", args, &errs, name)
		}
	}
}

// valueOf is a value that a flag accepts, other than the default one.
func valueOf(f *pflag.Flag) string {
	switch f.Value.Type() {
	case "bool":
		return "true"
	case "int":
		return "7"
	}
	return "x"
}

// TestIgnoredByRollback gives each flag of install, also those that it will have some day,
// together with --rollback: either it counts there or it is refused.
func TestIgnoredByRollback(t *testing.T) {
	counts := map[string]bool{"tftp": true, "name": true, "keep": true, "to": true, "dry-run": true, "json": true, "rollback": true, "help": true}
	cmd := installCommand()
	var names []string
	for _, flags := range []*pflag.FlagSet{cmd.Flags(), cmd.PersistentFlags()} {
		flags.VisitAll(func(f *pflag.Flag) {
			if counts[f.Name] {
				return
			}
			names = append(names, f.Name)
			t.Run(f.Name, func(t *testing.T) {
				ignored(t, []string{"install", "--tftp", t.TempDir(), "--rollback", "--" + f.Name + "=" + valueOf(f)}, "--rollback", "--"+f.Name)
			})
		})
	}
	if len(names) < 10 {
		t.Errorf("only %q were tried", names)
	}
}

// TestIgnored has the other flags that have no effect beside another one.
func TestIgnored(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	install := []string{"install", "--tftp", dir, "--image", file("image"), "--kernel", file("kernel")}
	uki := []string{"uki", "--output", file("out.efi"), "--image", file("image"), "--kernel", file("kernel"), "--stub", file("stub")}
	secrets := []string{"secrets", "--key", file("key")}
	for name, tt := range map[string]struct {
		args  []string
		names []string
	}{
		"install --to":                    {append(install, "--to", "x"), []string{"--to", "--rollback"}},
		"install --to, empty":             {append(install, "--to="), []string{"--to", "--rollback"}},
		"install --kernel --root":         {append(install, "--root", dir), []string{"--kernel", "--root"}},
		"install --path, no GRUB":         {append(install, "--loader", "ipxe,pxelinux", "--path", "/x"), []string{"--path", "--loader"}},
		"uki --label --default":           {append(uki, "--label", "tmpfs", "--default", "iscsi"), []string{"--label", "--default"}},
		"uki --append-iscsi by default":   {append(uki, "--append-iscsi", "x"), []string{"--append-iscsi", "--default", "--label"}},
		"uki --append-iscsi":              {append(uki, "--append-iscsi", "x", "--label", "tmpfs"), []string{"--append-iscsi", "--label"}},
		"uki --append-tmpfs":              {append(uki, "--append-tmpfs", "x", "--default", "iscsi"), []string{"--append-tmpfs", "--default"}},
		"uki --append-tmpfs --label":      {append(uki, "--append-tmpfs", "x", "--label", "iscsi"), []string{"--append-tmpfs", "--label"}},
		"build --verbose --json":          {[]string{"build", "--root", dir, "--output", file("x"), "--verbose", "--json"}, []string{"--verbose", "--json"}},
		"secrets --targets --nodes":       {append(secrets, "--targets", file("t"), "--nodes", "10.0.0.1"), []string{"--targets", "--nodes"}},
		"secrets --targets --target":      {append(secrets, "--targets", file("t"), "--target", "x"), []string{"--targets", "--target"}},
		"secrets --initiator":             {append(secrets, "--nodes", "10.0.0.1", "--initiator", "iqn.x:y"), []string{"--initiator", "--format table"}},
		"secrets --initiator, --format":   {append(secrets, "--nodes", "10.0.0.1", "--initiator", "iqn.x:y", "--format", "image"), []string{"--initiator", "--format image"}},
		"secrets --initiator, empty":      {append(secrets, "--nodes", "10.0.0.1", "--initiator=", "--format", "tgt"), []string{"--initiator", "--format tgt"}},
		"secrets --targets --nodes-from=": {append(secrets, "--targets", file("t"), "--nodes-from="), []string{"--targets", "--nodes-from"}},
	} {
		t.Run(name, func(t *testing.T) { ignored(t, tt.args, tt.names...) })
	}
}
