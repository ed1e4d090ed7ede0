package nodefiles

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sidusboot/sidusboot/managers"
	"github.com/sidusboot/sidusboot/tree"
)

// removeOld removes what an earlier attempt has written below root: it may have
// been about another NIC.
func removeOld(root string) error {
	remove := []string{filepath.Join(root, "run/NetworkManager"), filepath.Join(root, "run/network")}
	for _, pattern := range []string{"run/systemd/system/*/sidusboot.conf", "run/systemd/network/00--sidusboot*.network"} {
		old, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return err
		}
		remove = append(remove, old...)
	}
	for _, name := range remove {
		if err := os.RemoveAll(name); err != nil {
			return err
		}
	}
	return nil
}

// writeFiles writes files below root, where /run is.
func writeFiles(root string, files []managers.File) error {
	for _, f := range files {
		path := filepath.Join(root, f.Path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(f.Text), f.Mode); err != nil {
			return err
		}
	}
	return nil
}

// readUnit reads a unit of the tree in root where systemd would find it
// (systemd.unit(5)). A tree without it gives nothing.
func readUnit(root, name string) ([]byte, error) {
	for _, dir := range []string{"/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"} {
		text, err := tree.At(root).ReadFile(filepath.Join(dir, name))
		if !errors.Is(err, fs.ErrNotExist) {
			return text, err
		}
	}
	return nil, nil
}

// editTree makes managers.Edits in the tree in root, for the managers that are there.
// Without devices it takes back what an earlier boot from a kept upper layer has
// changed.
func editTree(root string, devices []string) []error {
	var errs []error
	for _, e := range managers.Edits() {
		if !hasProgram(root, e.Programs) {
			continue
		}
		if err := edit(root, e, devices); err != nil {
			errs = append(errs, fmt.Errorf("%s is not told about the NIC and may take it down: %w", e.Manager, err))
		}
	}
	return errs
}

func edit(root string, e managers.Edit, devices []string) error {
	old, err := tree.At(root).ReadFile(e.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch text := e.Apply(string(old), devices); {
	case text == string(old):
		return nil
	case text == "":
		return tree.At(root).Remove(e.Path)
	default:
		return tree.At(root).Replace(e.Path, []byte(text))
	}
}

// hasProgram tells whether one of the programs is in the tree.
func hasProgram(root string, names []string) bool {
	for _, name := range names {
		if _, err := tree.At(root).Stat(name); err == nil {
			return true
		}
	}
	return false
}
