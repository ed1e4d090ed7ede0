package nfs

import "slices"

// Spread is an order of several servers for one node, as their indexes: the nodes
// are distributed over the first, the second and so on by the servers' weights.
// Nodes with consecutive numbers are distributed evenly, whatever the step between
// them (Fibonacci hashing: multiples of the golden ratio cover an interval evenly).
// Servers of weight 0 come last, unless all have it.
func Spread(node uint32, weights []int) []int {
	const golden = 2654435769 // 2^32 divided by the golden ratio.
	position := uint64(node * golden)
	left := make([]int, len(weights))
	for i := range left {
		left[i] = i
	}
	var order []int
	for len(left) > 0 {
		total := uint64(0)
		for _, i := range left {
			total += uint64(weights[i])
		}
		weight := func(i int) uint64 { return uint64(weights[i]) }
		if total == 0 {
			total, weight = uint64(len(left)), func(int) uint64 { return 1 }
		}
		// What is left of the position within the one that was chosen decides on the
		// next one.
		position *= total
		for k, i := range left {
			if part := weight(i) << 32; position >= part {
				position -= part
				continue
			}
			position /= weight(i)
			order, left = append(order, i), slices.Delete(left, k, k+1)
			break
		}
	}
	return order
}
