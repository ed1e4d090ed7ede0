package identity

import "strings"

// openISCSIMark is the first line of what is added to /etc/default/open-iscsi.
const openISCSIMark = "# Added by sidusboot: the union's upper layer is on an iSCSI volume."

// openISCSIDefaults keep Debian's open-iscsi from unmounting /rw and from
// logging out under the union at shutdown: it looks for what is on iSCSI and
// does not see through a union (its umountiscsi.sh and logout-all.sh).
const openISCSIDefaults = openISCSIMark + `
EXCLUDE_MOUNTS_AT_SHUTDOWN="$EXCLUDE_MOUNTS_AT_SHUTDOWN /rw"
ISCSI_ROOT_KEEP_ALL_SESSIONS_AT_SHUTDOWN=1
`

// InitiatorName is the content of /etc/iscsi/initiatorname.iscsi.
func InitiatorName(name string) string { return "InitiatorName=" + name + "\n" }

// OpenISCSIDefaults adds to /etc/default/open-iscsi that the session of the
// node's volume is to be left alone. What has that already, from an earlier boot,
// stays as it is.
func OpenISCSIDefaults(old string) string {
	if strings.Contains(old, openISCSIMark) {
		return old
	}
	if old != "" && !strings.HasSuffix(old, "\n") {
		old += "\n"
	}
	return old + openISCSIDefaults
}
