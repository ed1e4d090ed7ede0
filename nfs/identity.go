package nfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// SetIdentity gives the kernel a text that no other machine has, to tell NFSv4
// servers who it is. Without one the kernel's owner string has the host name
// only (fs/nfs/nfs4proc.c, nfs4_init_uniform_client_string, and for 4.0
// nfs4_init_nonuniform_client_string), and two nodes of one name, or of none,
// expire each other's sessions for ever. It has to come before the first mount
// of version 4, and when module nfs is loaded. sysfs is /sys.
//
// A module parameter that is set already stays and is returned: the operator
// gave it, and it may be the same on all nodes.
func SetIdentity(sysfs, id string) (given string, err error) {
	parameter, err := os.ReadFile(filepath.Join(sysfs, "module/nfs/parameters/nfs4_unique_id"))
	if given = strings.TrimSpace(string(parameter)); err == nil && given != "" {
		if given == id {
			given = "" // Ours, of an earlier attempt.
		}
		return given, nil
	}
	err = writeExisting(filepath.Join(sysfs, "fs/nfs/net/nfs_client/identifier"), id)
	if !errors.Is(err, fs.ErrNotExist) {
		return "", wrapIdentity(err)
	}
	// Kernels before 5.3 have the parameter only.
	return "", wrapIdentity(writeExisting(filepath.Join(sysfs, "module/nfs/parameters/nfs4_unique_id"), id))
}

func wrapIdentity(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("nfs: set this node's NFSv4 identity: %w: nodes with the same host name will end each other's NFSv4 sessions", err)
}

func writeExisting(name, text string) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
