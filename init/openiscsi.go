package main

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/sidusboot/sidusboot/tree"
)

// openISCSIMark is the first line of what is added to /etc/default/open-iscsi.
const openISCSIMark = "# Added by sidusboot: the union's upper layer is on an iSCSI volume."

// openISCSIDefaults keep Debian's open-iscsi from unmounting /rw and from
// logging out under the union at shutdown: it looks for what is on iSCSI and
// does not see through a union (its umountiscsi.sh and logout-all.sh).
const openISCSIDefaults = openISCSIMark + `
EXCLUDE_MOUNTS_AT_SHUTDOWN="$EXCLUDE_MOUNTS_AT_SHUTDOWN /rw"
ISCSI_ROOT_KEEP_ALL_SESSIONS_AT_SHUTDOWN=1
`

// adviseOpenISCSI tells the tree's open-iscsi, where it has one, who this node
// is and to leave the node's session alone.
func adviseOpenISCSI(root, initiator string) error {
	etc := tree.At(root)
	if _, err := etc.ReadFile("/etc/iscsi/iscsid.conf"); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if err := etc.Replace("/etc/iscsi/initiatorname.iscsi", []byte("InitiatorName="+initiator+"\n")); err != nil {
		return err
	}
	// The scripts heed the setting only where this file is.
	if err := etc.Replace("/etc/iscsi/iscsi.initramfs", nil); err != nil {
		return err
	}
	const name = "/etc/default/open-iscsi"
	old, err := etc.ReadFile(name)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	// The upper layer is kept: it may be there from the boot before.
	if strings.Contains(string(old), openISCSIMark) {
		return nil
	}
	text := string(old)
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return etc.Replace(name, []byte(text+openISCSIDefaults))
}
