/** placeholder replaced below */
export {}
